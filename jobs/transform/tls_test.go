package transform

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/internal/warehouse/embedded"
	"consentpipeline.io/test/testneeds"
)

// An authority is a certificate authority of the test's own.
type authority struct {
	folder      string
	file        string // its certificate
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{folder: t.TempDir()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.certificate, a.key = template, newKey(t)
	a.file, _ = a.issue(t, name, template)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue writes a certificate and its key to files.
func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) (certificate, key string) {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	private := newKey(t)
	if template == a.certificate {
		private = a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if template == a.certificate {
		if a.certificate, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	certificate, key = filepath.Join(a.folder, name+".crt"), filepath.Join(a.folder, name+".key")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// tlsServer starts a server whose certificate is for db.example: over TCP it takes TLS only, for the user consent with a
// password and for the user certified with a client's certificate.
func tlsServer(t *testing.T, ca *authority) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Options{Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var rules string
	if err := conn.QueryRow(t.Context(), "show hba_file").Scan(&rules); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(rules)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	place := func(from, name string) {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(filepath.Dir(rules), name)
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(to, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	certificate, key := ca.issue(t, "server", &x509.Certificate{Subject: pkix.Name{CommonName: "db.example"}, DNSNames: []string{"db.example"}})
	place(ca.file, "ca.crt")
	place(certificate, "server.crt")
	place(key, "server.key")
	if err := os.WriteFile(rules, []byte("hostssl all certified all cert\nhostssl all all all scram-sha-256\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"create role certified superuser login",
		"alter system set ssl = on", "alter system set ssl_cert_file = 'server.crt'", "alter system set ssl_key_file = 'server.key'",
		"alter system set ssl_ca_file = 'ca.crt'", "select pg_reload_conf()",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		secured, err := pgx.Connect(t.Context(), strings.Replace(server.URL(), "sslmode=disable", "sslmode=require", 1))
		if err == nil {
			secured.Close(context.Background())
			return server
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestTLS shows that this program and dbt make the same connection: both verify the server, or both refuse it.
func TestTLS(t *testing.T) {
	dbt := testneeds.Dbt(t)
	ca, wrong := newAuthority(t, "ca"), newAuthority(t, "wrong")
	server := tlsServer(t, ca)
	certificate, key := ca.issue(t, "certified", &x509.Certificate{Subject: pkix.Name{CommonName: "certified"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	parsed, err := pgx.ParseConfig(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	_, deadPort, _ := net.SplitHostPort(dead.Addr().String())

	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	passfile := file("passfile", fmt.Sprintf("*:%d:*:consent:%s\n", parsed.Port, parsed.Password))
	at := fmt.Sprintf("host=db.example hostaddr=127.0.0.1 port=%d dbname=consent", parsed.Port)
	password := fmt.Sprintf(" user=consent password='%s'", parsed.Password)
	verified := " sslmode=verify-full sslrootcert=" + ca.file
	services := file("services", fmt.Sprintf("[warehouse]\nhost=db.example\nhostaddr=127.0.0.1\nport=%d\ndbname=consent\nuser=certified\n"+
		"sslmode=verify-full\nsslrootcert=%s\nsslcert=%s\nsslkey=%s\n", parsed.Port, ca.file, certificate, key))

	tests := map[string]struct {
		database string
		mode     string // of dbt's TLS
		refused  string // this program's error; empty if it connects
		byDbt    string // dbt's error
	}{
		"a service with a client's certificate": {database: "service=warehouse servicefile=" + services, mode: "verify-full"},
		"a client's certificate":                {database: at + " user=certified sslcert=" + certificate + " sslkey=" + key + verified, mode: "verify-full"},
		"a password":                            {database: at + password + verified, mode: "verify-full"},
		"the name is not checked":               {database: fmt.Sprintf("host=127.0.0.1 port=%d dbname=consent sslmode=verify-ca sslrootcert=%s", parsed.Port, ca.file) + password, mode: "verify-ca"},
		"no TLS setting":                        {database: at + password, mode: "require"},
		"channel binding and a method":          {database: at + password + verified + " channel_binding=require require_auth=scram-sha-256", mode: "verify-full"},
		"a passfile, and the first of two hosts is dead": {
			database: fmt.Sprintf("host=127.0.0.1,db.example hostaddr=127.0.0.1,127.0.0.1 port=%s,%d dbname=consent user=consent passfile=%s", deadPort, parsed.Port, passfile) + verified,
			mode:     "verify-full",
		},
		"direct TLS": {database: at + password + verified + " sslnegotiation=direct", mode: "verify-full"},
		"the wrong authority": {
			database: at + password + " sslmode=verify-full sslrootcert=" + wrong.file, mode: "verify-full",
			refused: "certificate signed by unknown authority", byDbt: "certificate verify failed",
		},
		"another name": {
			database: fmt.Sprintf("host=other.example hostaddr=127.0.0.1 port=%d dbname=consent", parsed.Port) + password + verified, mode: "verify-full",
			refused: "not other.example", byDbt: `does not match host name "other.example"`,
		},
		"the system's authorities": {
			database: at + password + " sslmode=verify-full", mode: "verify-full",
			refused: "certificate signed by unknown authority", byDbt: "certificate verify failed",
		},
		"no certificate of the client": {
			database: at + " user=certified" + verified, mode: "verify-full",
			refused: "requires a valid client certificate", byDbt: "requires a valid client certificate",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{ProjectDir: "testdata/project", Dbt: dbt, StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
				Database: warehouse.Config{URL: test.database, Log: slog.New(slog.DiscardHandler)}}
			endpoint, err := warehouse.Reach(t.Context(), o.Database)
			if (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
				t.Fatalf("the program's connection: %v, want %q", err, test.refused)
			}
			if test.refused != "" { // dbt must refuse the server, too, without this program's check
				endpoint = warehouse.Endpoint{Host: "db.example", Address: "127.0.0.1", Port: parsed.Port, Password: parsed.Password, TLS: true, Major: 17}
				if name == "another name" {
					endpoint.Host = "other.example"
				}
			} else if endpoint.Port != parsed.Port || endpoint.Address != "127.0.0.1" || !endpoint.TLS {
				t.Errorf("the endpoint is %+v", endpoint)
			}
			cmd, err := newCommand(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.connect(o, endpoint); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			err = cmd.debug(t.Context(), o, &said)
			if (err == nil) != (test.byDbt == "") || !strings.Contains(said.String(), test.byDbt) || !strings.Contains(said.String(), "sslmode: "+test.mode) {
				t.Errorf("dbt: %v, want %q and sslmode %s, said:\n%s", err, test.byDbt, test.mode, &said)
			}
		})
	}
}
