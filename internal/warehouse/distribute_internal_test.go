package warehouse

import (
	"strings"
	"testing"
)

func TestPlanOfDistribution(t *testing.T) {
	usable := cluster{version: "13.2-1", workers: 2, owns: true}
	with := func(change func(*cluster)) cluster {
		c := usable
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		cluster cluster
		mode    Distribute
		want    bool
		err     string
	}{
		"a cluster with workers":                       {usable, DistributeAuto, true, ""},
		"a cluster with workers, required":             {usable, DistributeRequired, true, ""},
		"no mode is auto":                              {usable, "", true, ""},
		"never":                                        {usable, DistributeNever, false, ""},
		"the oldest version":                           {with(func(c *cluster) { c.version = "12.1-1" }), DistributeAuto, true, ""},
		"distributed already":                          {with(func(c *cluster) { c.kind, c.column = "h", "api_key" }), DistributeRequired, false, ""},
		"distributed already, by a login without it":   {with(func(c *cluster) { c.kind, c.column, c.owns = "h", "api_key", false }), DistributeAuto, false, ""},
		"a plain server":                               {cluster{owns: true}, DistributeAuto, false, ""},
		"a plain server, required":                     {cluster{owns: true}, DistributeRequired, false, "no extension citus"},
		"a coordinator without workers":                {with(func(c *cluster) { c.workers = 0 }), DistributeAuto, false, ""},
		"a coordinator without workers, required":      {with(func(c *cluster) { c.workers = 0 }), DistributeRequired, false, "select citus_add_node('HOST', 5432)"},
		"an old version":                               {with(func(c *cluster) { c.version = "12.0-2" }), DistributeAuto, false, "Citus 12.0-2: 12.1 or newer is needed"},
		"an old version, never":                        {with(func(c *cluster) { c.version = "11.3-1" }), DistributeNever, false, ""},
		"distributed by another column":                {with(func(c *cluster) { c.kind, c.column = "h", "load_id" }), DistributeAuto, false, "distributed by load_id, but the metrics need it by api_key"},
		"distributed by another column, left as it is": {with(func(c *cluster) { c.kind, c.column = "h", "load_id" }), DistributeNever, false, ""},
		"a reference table":                            {with(func(c *cluster) { c.kind = "n" }), DistributeAuto, false, "select undistribute_table('raw.event')"},
		"a table of another role":                      {with(func(c *cluster) { c.owns = false }), DistributeAuto, false, "belongs to another role"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.cluster.plan(test.mode)
			if got != test.want {
				t.Errorf("distribute is %t, want %t", got, test.want)
			}
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error is %v, want one with %q", err, test.err)
			}
		})
	}
}
