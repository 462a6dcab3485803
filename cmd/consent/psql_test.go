package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

// relay lets the tests' server be reached at another address.
func relay(t *testing.T, network, address, server string) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				return
			}
			for from, to := range map[net.Conn]net.Conn{client: upstream, upstream: client} {
				go func() {
					_, _ = io.Copy(to, from)
					_ = to.Close()
				}()
			}
		}
	}()
	return listener.Addr().String()
}

// shell runs a line as a terminal would. POSIXLY_CORRECT keeps psql from taking options after its arguments, as some
// systems do.
func shell(t *testing.T, line string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Env = append(os.Environ(), "PSQLRC=/dev/null", "POSIXLY_CORRECT=1")
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// TestPsqlCommand runs the command that is printed for a database of the user's.
func TestPsqlCommand(t *testing.T) {
	testneeds.Psql(t)
	const role, password, name = `Bi "HQ" o'Neil@corp`, `p@ss 'w"ö\rd:/?#%20`, `My db@"home" $HOME/50%?#&=+`
	server, err := url.Parse(warehousetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), server.String())
	if err != nil {
		t.Fatal(err)
	}
	quotedRole, quotedName := pgx.Identifier{role}.Sanitize(), pgx.Identifier{name}.Sanitize()
	for _, statement := range []string{
		"create role " + quotedRole + " login password '" + strings.ReplaceAll(password, "'", "''") + "'",
		"create database " + quotedName,
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_, err1 := admin.Exec(context.Background(), "drop database "+quotedName+" with (force)")
		_, err2 := admin.Exec(context.Background(), "drop role "+quotedRole)
		if err := errors.Join(err1, err2, admin.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})

	folder := reachableDir(t)
	socket := filepath.Join(folder, "run 'pg'")
	if err := os.Mkdir(socket, 0o755); err != nil {
		t.Fatal(err)
	}
	relay(t, "unix", filepath.Join(socket, ".s.PGSQL.6543"), server.Host)
	six := relay(t, "tcp", "[::1]:0", server.Host)
	passwordFile := write(t, filepath.Join(folder, "it's a password"), password+"\n")
	// The service's database does not exist, so that the parameter must override it.
	services := write(t, filepath.Join(folder, "my services"), "[mine]\nhost="+server.Hostname()+"\nport="+server.Port()+"\ndbname=elsewhere\nsslmode=disable\n")

	escape := func(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }
	user, path := escape(role), escape(name)
	secret := escape(password)
	dsn := func(value string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
	}
	for title, c := range map[string]struct {
		url, file string
		variables []string // of the shell
		want      string   // in the command
	}{
		"a URL": {url: "postgres://" + user + ":" + secret + "@" + server.Host + "/" + path + "?sslmode=disable", want: "sslmode=disable"},
		"a URL with a password file": {url: "postgresql://" + user + "@" + server.Host + "/" + path, file: passwordFile,
			want: "PGPASSWORD="},
		"an IPv6 address": {url: "postgres://" + user + ":" + secret + "@" + six + "/" + path, want: "@[::1]:"},
		"several hosts": {url: "postgres://" + user + ":" + secret + "@127.0.0.1:1," + six + "," + server.Host + "/" + path +
			"?target_session_attrs=read-write", want: "@127.0.0.1:1,[::1]:"},
		"a socket": {url: "postgres://" + user + ":" + secret + "@/" + path + "?host=" + escape(socket) + "&port=6543", want: "host="},
		"a socket and a server": {url: "host=" + dsn(socket+","+server.Hostname()) + " port=1," + server.Port() + " user=" + dsn(role) +
			" password=" + dsn(password) + " dbname=" + dsn(name), want: "port=1,"},
		"a DSN": {url: "host=" + server.Hostname() + " port = " + server.Port() + " user=" + dsn(role) + " password=" + dsn(password) +
			" dbname=" + dsn(name) + ` options='-c search_path=a,\\ b' sslmode=disable`, want: "sslmode=disable&options=-c%20search_path%3Da,%5C%20b"},
		"a service": {url: "postgres://" + user + ":" + secret + "@/" + path + "?service=mine&servicefile=" + escape(services),
			want: "PGSERVICEFILE="},
		"an address in the shell": {url: "postgres://" + user + ":" + secret + "@" + server.Host + "/" + path,
			variables: []string{"PGHOSTADDR=192.0.2.1"}, want: "env -u PGHOSTADDR psql"},
	} {
		t.Run(title, func(t *testing.T) {
			for _, variable := range c.variables {
				key, value, _ := strings.Cut(variable, "=")
				t.Setenv(key, value)
			}
			d := &database{Config: warehouse.Config{URL: c.url, PasswordFile: c.file}}
			command := d.psqlCommand(`select current_user || ' in ' || current_database() as "who's there"`)
			if !strings.Contains(command, c.want) {
				t.Errorf("the command lacks %q: %s", c.want, command)
			}
			if strings.Contains(command, "p@ss") || strings.Contains(command, "p%40ss") {
				t.Errorf("the command shows the password: %s", command)
			}
			if c.file == "" {
				t.Setenv("PGPASSWORD", password) // the answer to psql's prompt
			}
			output, err := shell(t, command)
			if want := "\n " + role + " in " + name + "\n"; err != nil || !strings.Contains(output, want) {
				t.Errorf("%v: %s\n%s", err, command, output)
			}
			// pgx reads the URL as it reads the user's.
			t.Setenv("PGSERVICEFILE", services)
			given, err1 := pgx.ParseConfig(c.url)
			shown, err2 := pgx.ParseConfig(d.safeURL())
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			if shown.Host != given.Host || shown.Port != given.Port || shown.User != role || shown.Database != name ||
				len(shown.Fallbacks) != len(given.Fallbacks) {
				t.Errorf("%s leads to %s:%d and %d others", d.safeURL(), shown.Host, shown.Port, len(shown.Fallbacks))
			}
		})
	}
}

// TestPsqlCommandOfServe runs the command that `consent run --serve` prints, in a shell with libpq's variables for another
// server.
func TestPsqlCommandOfServe(t *testing.T) {
	testneeds.Psql(t)
	dir := filepath.Join(reachableDir(t), "it's here")
	input := filepath.Join(dir, "in put")
	write(t, filepath.Join(input, "companies.csv"), companyHeader+goodCompany)
	for name, value := range hostileVariables {
		t.Setenv(name, value)
	}
	cmd := program(t.Context(), t, withDbt(t, "run", "--input", input, "--data-dir", filepath.Join(dir, "data"), "--serve")...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	command := ""
	for lines := bufio.NewScanner(stdout); command == "" && lines.Scan(); {
		if line := lines.Text(); strings.Contains(line, " psql ") {
			command = line
		}
	}
	if command != "" {
		output, err := shell(t, strings.Replace(command, "select * from", "select count(*) as companies from", 1))
		if err != nil || !strings.Contains(output, "companies \n-----------\n         1\n") {
			t.Errorf("%v: %s\n%s", err, command, output)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || command == "" {
		t.Errorf("%v, the command is %q: %s", err, command, stderr.String())
	}
}
