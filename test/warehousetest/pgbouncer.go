package warehousetest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"consentpipeline.io/test/testneeds"
)

// PgBouncer starts a PgBouncer for a database and returns the database's URL through it. mode is its pool_mode, session
// or transaction; lines are added to its configuration, which otherwise has the defaults.
func PgBouncer(t testing.TB, database, mode, lines string) string {
	t.Helper()
	path := testneeds.PgBouncer(t)
	server, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	// PgBouncer does not run as root and needs access to its files.
	folder, err := os.MkdirTemp("", "consent-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	password, _ := server.User.Password()
	users := file("users", fmt.Sprintf("%q %q\n", server.User.Username(), password))
	address := testneeds.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := file("pgbouncer.ini", fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_file = %s
pool_mode = %s
%s
`, server.Hostname(), server.Port(), port, users, mode, lines))

	arguments := []string{config}
	if os.Getuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, "-u", nobody.Username)
	}
	output, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, arguments...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		output.Close()
		if t.Failed() {
			log, _ := os.ReadFile(output.Name())
			t.Logf("last output of PgBouncer:\n%s", log[max(0, len(log)-2000):])
		}
	})
	through := *server
	through.Host = address
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", through.Host)
		if err == nil {
			_ = conn.Close()
			return through.String()
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(output.Name())
			t.Fatalf("PgBouncer does not start:\n%s", log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("PgBouncer does not accept connections")
		}
	}
}
