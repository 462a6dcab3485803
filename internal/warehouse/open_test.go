package warehouse_test

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// countConnections returns the URL of a database through a proxy, and the number of connections that it has accepted.
func countConnections(t *testing.T, database string) (through string, accepted *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	server := u.Host
	accepted = new(atomic.Int64)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			accepted.Add(1)
			go func() {
				defer func() { _ = client.Close() }()
				upstream, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = upstream.Close() }()
					_, _ = io.Copy(upstream, client)
				}()
				_, _ = io.Copy(client, upstream)
			}()
		}
	}()
	u.Host = listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable") // with TLS preferred, a server without it is connected to twice
	u.RawQuery = q.Encode()
	return u.String(), accepted
}

// TestOpenMakesNoConnectionTooMany checks that the connections that are used are the only ones.
func TestOpenMakesNoConnectionTooMany(t *testing.T) {
	database := warehousetest.Database(t)
	if _, err := warehouse.Migrate(t.Context(), config(database)); err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []bool{false, true} {
		through, accepted := countConnections(t, database)
		c := config(through)
		c.Ahead = ahead
		db, err := warehouse.Open(t.Context(), c, 5)
		if err != nil {
			t.Fatal(err)
		}
		want := int32(1)
		if ahead {
			want = 2
		}
		for deadline := time.Now().Add(time.Minute); db.Pool().Stat().IdleConns() < want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections, want %d", db.Pool().Stat().IdleConns(), want)
			}
		}
		if _, err := db.Find(t.Context(), "source", "path"); err != nil {
			t.Fatal(err)
		}
		if got := accepted.Load(); got != int64(want) {
			t.Errorf("ahead %t: %d connections, want %d", ahead, got, want)
		}
		var settings string
		if err := db.Pool().QueryRow(t.Context(), "select current_setting('lock_timeout')").Scan(&settings); err != nil || settings != "10min" {
			t.Errorf("lock_timeout is %s, %v", settings, err)
		}
		db.Close()
	}
}
