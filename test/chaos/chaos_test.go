package main

import (
	"context"
	"os"
	"testing"

	"github.com/google/uuid"

	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// TestEveryRowIsThereExactlyOnce is a short run of the command: every moment and every event, once each.
func TestEveryRowIsThereExactlyOnce(t *testing.T) {
	err := run(t.Context(), options{
		seed: 3, kills: fullKills - 1, limit: len(events), from: 1, events: 2000, moments: true, sources: folderSource, out: t.Output(),
	})
	if err != nil {
		t.Error(err)
	}
}

// TestEveryRowOfAStoreIsThereExactlyOnce is the same with the files in an object store, and without the exact moments.
func TestEveryRowOfAStoreIsThereExactlyOnce(t *testing.T) {
	err := run(t.Context(), options{
		seed: 4, kills: 6, limit: 6, from: 1, events: momentEvents, sources: s3Source, store: testneeds.Versitygw(t), out: t.Output(),
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKillsOnOtherVersions kills a backend, all of Postgres, and an ingestion: with this seed, these events come first.
func TestKillsOnOtherVersions(t *testing.T) {
	dir, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	consent, err := build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	warehousetest.OnOtherVersions(t, func(t *testing.T, major string) {
		err := run(t.Context(), options{
			seed: 208, kills: 3, from: len(events) + 1, events: 1000, consent: consent, major: major, sources: folderSource, out: t.Output(),
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestChecksFindDamage damages a correct load in each way that the checks must find.
func TestChecksFindDamage(t *testing.T) {
	damages := map[string]string{
		"nothing": "select",

		"a row is lost":              "delete from raw.event where ctid = (select min(ctid) from raw.event)",
		"a row is duplicated":        "insert into raw.event select * from raw.event limit 1",
		"a value differs":            "update raw.event set consent = consent || '!' where ctid = (select min(ctid) from raw.event where consent > '')",
		"a column is null":           "update raw.event set parameters = null where ctid = (select min(ctid) from raw.event where parameters is not null)",
		"a company is lost":          "delete from raw.company where ctid = (select min(ctid) from raw.company)",
		"a finding is lost":          "delete from raw.finding where ctid = (select min(ctid) from raw.finding)",
		"the row count is wrong":     "update raw.load set rows = rows + 1 where load_id = (select min(load_id) from raw.load)",
		"rows have no load":          "insert into raw.company (load_id, row_number, api_key) values (-5, 1, gen_random_uuid())",
		"a superseded load has rows": "update raw.load set state = 'superseded' where load_id = (select min(load_id) from raw.load)",
		"a load is still loading": `insert into raw.load (file_id, run_id, state, contract_version, options, format)
			select file_id, run_id, 'loading', 1, '', 'csv' from raw.load limit 1`,
		"a file was loaded twice by the run": `insert into raw.load (file_id, run_id, state, contract_version, options, format)
			select file_id, run_id, 'superseded', 1, '', 'csv' from raw.load limit 1`,
		"another run has loaded it": `with other as (insert into raw.run (run_id, name, source) values (gen_random_uuid(), '', '') returning run_id)
			update raw.load set run_id = (select run_id from other) where load_id = (select min(load_id) from raw.load)`,
		"another content is published": "update raw.load set sha256 = sha256('') where load_id = (select min(load_id) from raw.load)",
		"the run is not finished":      "update raw.run set finished = null",
		"an outcome is missing":        "delete from raw.run_file where ctid = (select min(ctid) from raw.run_file)",
		"an outcome is wrong":          "update raw.run_file set outcome = 'Failed' where ctid = (select min(ctid) from raw.run_file)",
	}

	dir, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := options{seed: 1, out: t.Output()}
	if o.consent, err = build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	err = with(t.Context(), o, newTally(o), dir, "", 2, momentEvents, func(c *chaos, ctx context.Context) error {
		for name, statement := range damages {
			if err := c.empty(ctx); err != nil {
				return err
			}
			r, err := c.program.ingest(uuid.NewString(), c.server.url(databaseName))
			if err := succeed(ctx, r, err); err != nil {
				return err
			}
			if err := c.server.execute(ctx, databaseName, statement); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			loads, err := c.loads(ctx, databaseName)
			if err != nil {
				return err
			}
			violations, err := c.checkSettled(ctx, loads, r)
			if err != nil {
				return err
			}
			if found := len(violations) > 0; found != (name != "nothing") {
				t.Errorf("%s: the checks report %q", name, violations)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
