package warehousetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/test/testneeds"
)

// onCitusVariable is set in a process whose databases are on the Citus cluster of CONSENT_TEST_CITUS_URL.
const onCitusVariable = "CONSENT_TEST_ON_CITUS"

// RerunOnCitus runs tests of the package again, in a process whose databases are on a Citus cluster.
func RerunOnCitus(t *testing.T, tests ...string) {
	t.Helper()
	url := testneeds.Citus(t)
	rerun(t, tests, onCitusVariable+"="+url)
}

// OnCitus reports whether Database returns databases of a Citus cluster.
func OnCitus() bool { return os.Getenv(onCitusVariable) != "" }

// CitusDatabase returns the URL of a new, empty database of the Citus cluster, which is dropped after the test, and the URLs of
// its workers. A database of Citus is one on each node.
func CitusDatabase(t testing.TB) (coordinator string, workers []string) {
	t.Helper()
	cluster, err := url.Parse(testneeds.Citus(t))
	if err != nil {
		t.Fatal("CONSENT_TEST_CITUS_URL is not a URL")
	}
	name := newName()
	t.Cleanup(func() {
		if err := dropOnCitus(cluster, name); err != nil {
			t.Error(err)
		}
	})
	if workers, err = createOnCitus(cluster, name); err != nil {
		t.Fatal(err)
	}
	return on(cluster, name), workers
}

// citusNodes returns the nodes of a cluster, the coordinator first.
func citusNodes(ctx context.Context, cluster *url.URL) (nodes []*url.URL, err error) {
	conn, err := pgx.Connect(ctx, cluster.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select nodename, nodeport from pg_dist_node where noderole = 'primary' and groupid <> 0 order by nodeid")
	if err != nil {
		return nil, err
	}
	nodes = append(nodes, cluster)
	var host string
	var port int
	_, err = pgx.ForEachRow(rows, []any{&host, &port}, func() error {
		node := *cluster
		node.Host = net.JoinHostPort(host, strconv.Itoa(port))
		nodes = append(nodes, &node)
		return nil
	})
	if err == nil && len(nodes) == 1 {
		err = errors.New("the cluster has no worker")
	}
	return nodes, err
}

func createOnCitus(cluster *url.URL, name string) (workers []string, err error) {
	ctx := context.Background()
	nodes, err := citusNodes(ctx, cluster)
	if err != nil {
		return nil, fmt.Errorf("the nodes of CONSENT_TEST_CITUS_URL: %w", err)
	}
	for _, node := range nodes {
		if err := execute(node, "create database "+name+" template template0 encoding 'UTF8'"); err != nil {
			return nil, err
		}
		database := *node
		database.Path = "/" + name
		if err := execute(&database, "create extension citus"); err != nil {
			return nil, err
		}
	}
	coordinator := *cluster
	coordinator.Path = "/" + name
	for i, node := range nodes {
		add := "citus_add_node"
		if i == 0 {
			add = "citus_set_coordinator_host"
		} else {
			worker := *node
			worker.Path = "/" + name
			workers = append(workers, worker.String())
		}
		if err := execute(&coordinator, fmt.Sprintf("select %s('%s', %s)", add, node.Hostname(), node.Port())); err != nil {
			return nil, err
		}
	}
	return workers, nil
}

func dropOnCitus(cluster *url.URL, name string) (err error) {
	nodes, err := citusNodes(context.Background(), cluster)
	for _, node := range nodes {
		err = errors.Join(err, execute(node, "drop database if exists "+name+" with (force)"))
	}
	return err
}
