package warehouse_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consentpipeline.io/internal/warehouse"
)

// clearVariables takes libpq's variables out of the test's environment.
func clearVariables(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

// TestConninfo checks what a URL or a string of keywords means: the same as to libpq.
func TestConninfo(t *testing.T) {
	clearVariables(t)
	services := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(services, []byte("[a]\nhost=service.example\nuser=of service\nsslmode=verify-full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		text        string
		environment map[string]string
		want        warehouse.Conninfo
	}{
		"a URL": {"postgresql://u:p@h:1/d?sslmode=require", nil,
			warehouse.Conninfo{"user": "u", "password": "p", "host": "h", "port": "1", "dbname": "d", "sslmode": "require"}},
		"an escaped password": {"postgres://u:%40%2F%3F%3A%23%25@h/d", nil,
			warehouse.Conninfo{"user": "u", "password": "@/?:#%", "host": "h", "dbname": "d"}},
		"# and : in a password need no escape": {"postgres://u:a#b:c@h/d", nil,
			warehouse.Conninfo{"user": "u", "password": "a#b:c", "host": "h", "dbname": "d"}},
		"several hosts": {"postgres://u@h1:1,h2,[::1]:3/d", nil,
			warehouse.Conninfo{"user": "u", "host": "h1,h2,::1", "port": "1,,3", "dbname": "d"}},
		"a socket in the query": {"postgres:///d?host=/run/pg&user=a%40b", nil,
			warehouse.Conninfo{"host": "/run/pg", "user": "a@b", "dbname": "d"}},
		"an escaped socket": {"postgres://%2Frun%2Fpg/d", nil, warehouse.Conninfo{"host": "/run/pg", "dbname": "d"}},
		"JDBC's TLS":        {"postgres://h/d?ssl=true", nil, warehouse.Conninfo{"host": "h", "dbname": "d", "sslmode": "require"}},
		"keywords": {`host = h user='o\'b \\ c' password=a\ b dbname=''`, nil,
			warehouse.Conninfo{"host": "h", "user": `o'b \ c`, "password": "a b", "dbname": ""}},
		"an address only": {"hostaddr=192.0.2.1 user=u", nil, warehouse.Conninfo{"host": "192.0.2.1", "hostaddr": "192.0.2.1", "user": "u"}},
		"the environment fills what is missing": {"postgres://h/d", map[string]string{"PGUSER": "e", "PGHOST": "no", "PGHOSTADDR": "no", "PGSSLMODE": "verify-ca"},
			warehouse.Conninfo{"host": "h", "dbname": "d", "user": "e", "sslmode": "verify-ca"}},
		"a service": {"service=a user=u", map[string]string{"PGSERVICEFILE": services, "PGUSER": "e", "PGSSLMODE": "disable", "PGDATABASE": "d"},
			warehouse.Conninfo{"service": "a", "servicefile": services, "host": "service.example", "user": "u", "sslmode": "verify-full", "dbname": "d"}},
		"demands that are met": {"host=h gssencmode=prefer sslcrl='' ssl_min_protocol_version=TLSv1.2", nil,
			warehouse.Conninfo{"host": "h", "gssencmode": "prefer", "sslcrl": "", "ssl_min_protocol_version": "TLSv1.2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for variable, value := range test.environment {
				t.Setenv(variable, value)
			}
			got, err := warehouse.ParseConninfo(test.text)
			if err != nil || !maps.Equal(got, test.want) {
				t.Errorf("got %v, %v\nwant %v", got, err, test.want)
			}
		})
	}
}

// TestInvalidConninfo checks that invalid settings are refused before the program waits for a server, with the reason and
// without the password.
func TestInvalidConninfo(t *testing.T) {
	clearVariables(t)
	tests := map[string]struct{ text, want string }{
		"another scheme":                     {"v3?//postgres@127.0.0.1:29030/postgres?sslmode=disable", "something other than a keyword"},
		"MySQL's":                            {"mysql://u:cret@h/d", "neither a URL"},
		"a name only":                        {"cret", "neither a URL"},
		"nothing but a host":                 {"db.example:5432", "neither a URL"},
		"an unknown keyword":                 {"postgres://h/d?ssl_mode=require", "unknown keyword ssl_mode: did you mean sslmode?"},
		"a setting of the server":            {"postgres://h/d?search_path=x", "unknown keyword search_path: a setting of the server goes into options"},
		"a password with @":                  {"postgres://u:s@cret@h/d", "an @ in a password is written as %40"},
		"a password with /":                  {"postgres://u:s/cret@h/d", "/ is written as %2F"},
		"a numeric password with /":          {"postgres://u:1/cret@h/d", "/ is written as %2F"},
		"a password with ?":                  {"postgres://u:s?cret=1@h/d", "/ ? @ : and % of a password"},
		"a password with %":                  {"postgres://u:s%cret@h/d", "written as %25"},
		"a port that is none":                {"postgres://h:port/d", "a port is not a number"},
		"a port that is too large":           {"host=h port=70000", "a port is not a number"},
		"ports for other hosts":              {"host=a,b port=1,2,3", "3 ports for 2 hosts"},
		"addresses for other hosts":          {"host=a,b hostaddr=192.0.2.1", "1 addresses and host 2 names"},
		"no host":                            {"postgres://u:cret@:29031/d", "names no host"},
		"no value":                           {"host=h password", "not a list of keyword=value pairs"},
		"a password with a blank":            {"host=h password=my cret", "not a list of keyword=value pairs"},
		"a password with a blank and =":      {"host=h password=my cret=1", "a password with blanks is quoted"},
		"a quote that does not end":          {"host=h password='cret", "not a list of keyword=value pairs"},
		"a service that is not there":        {"service=nowhere", `there is no service "nowhere"`},
		"a revocation list":                  {"host=h sslmode=verify-full sslcrl=/crl", "sslcrl (PGSSLCRL) demands what this program cannot do"},
		"encryption by GSS":                  {"host=h gssencmode=require", "gssencmode (PGGSSENCMODE) demands what this program cannot do, so it does not connect: remove it, or set it to disable or prefer"},
		"a peer":                             {"host=/tmp requirepeer=postgres", "requirepeer"},
		"a newer TLS":                        {"host=h ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version"},
		"an unknown mode of TLS":             {"host=h sslmode=never password=cret", "sslmode is invalid"},
		"an unknown mode of channel binding": {"host=h channel_binding=never", "channel_binding"},
		"an unknown target":                  {"host=h target_session_attrs=never", "target_session_attrs"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := config(test.text).ParseConfig()
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "cret") {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
		})
	}
	t.Run("a demand of the environment", func(t *testing.T) {
		t.Setenv("PGSSLCRL", "/crl")
		if _, err := warehouse.ParseConninfo("host=h"); err == nil || !strings.Contains(err.Error(), "PGSSLCRL") {
			t.Errorf("error is %v", err)
		}
	})
}

// FuzzConninfo checks that whatever is given is either refused or a host to connect to.
func FuzzConninfo(f *testing.F) {
	for _, text := range []string{"postgres://u:p@h:1,h2/d?sslmode=require", `host=h user='o\'b'`, "v3?//postgres@127.0.0.1:29030/postgres?sslmode=disable"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		info, err := warehouse.ParseConninfo(text)
		if err == nil && info["host"] == "" {
			t.Errorf("%q is taken without a host: %v", text, info)
		}
	})
}
