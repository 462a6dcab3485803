package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/test/s3test"
	"consentpipeline.io/test/warehousetest"
)

const sourceFile = "EVENT_ID,TYPE,RATE,PARAMETERS,EVENT_TIME,WINDOW_START,APIKEY,CONSENT,COUNT\n" +
	"00000000-0000-4000-8000-000000000001,pageview,0.1,,2025-09-05 01:14:29,2025-09-05 01:00:00,49af23d9-0cad-4d42-8adc-744791443345,,10\n"

// checkSource validates the files of a source in an environment with the given variables and with no others of stores.
func checkSource(t *testing.T, place string, environment []string, args ...string) outcome {
	t.Helper()
	cmd := program(t.Context(), t, append([]string{"ingest", "--check", "--source", place}, args...)...)
	cmd.Env = append(s3test.WithoutStore(cmd.Env), environment...)
	return finish(t, cmd)
}

// storeWithUsers is a store with a file that three users may read, in different degrees.
func storeWithUsers(t *testing.T) *s3test.Server {
	t.Helper()
	store := s3test.New(t, s3test.Options{IAM: true})
	for _, key := range []string{"day/a.csv", "day/b.csv", "public/a.csv"} {
		if err := store.Put(t.Context(), key, []byte(sourceFile)); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"reader", "lister", "getter"} {
		if err := store.AddUser(t.Context(), user, user+"-secret"); err != nil {
			t.Fatal(err)
		}
	}
	err := store.Allow(t.Context(),
		s3test.Statement{Principal: []string{"reader", "lister"}, Action: []string{"s3:ListBucket"}, Resource: []string{""}},
		s3test.Statement{Principal: []string{"reader", "getter"}, Action: []string{"s3:GetObject"}, Resource: []string{"*"}},
		s3test.Statement{Principal: []string{"lister"}, Action: []string{"s3:GetObject"}, Resource: []string{"day/a.csv"}},
		s3test.Statement{Principal: []string{"*"}, Action: []string{"s3:GetObject"}, Resource: []string{"public/*"}})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// as returns an environment with other variables in place of those that it has.
func as(environment []string, more ...string) []string {
	return append(slices.Clone(environment), more...)
}

// TestErrorsOfS3 checks the message and the exit code for each thing that can be wrong with a store and its settings.
func TestErrorsOfS3(t *testing.T) {
	store := storeWithUsers(t)
	root := s3test.Environment(store.URL)
	user := func(name string) []string {
		return as(root, "AWS_ACCESS_KEY_ID="+name, "AWS_SECRET_ACCESS_KEY="+name+"-secret")
	}
	none := as(root[:1:1], root[3:]...)
	far := s3test.New(t, s3test.Options{Region: "eu-west-1"})
	cert, key := certificate(t)
	secure := s3test.New(t, s3test.Options{Cert: cert, Key: key})
	if err := secure.Put(t.Context(), "day/a.csv", []byte(sourceFile)); err != nil {
		t.Fatal(err)
	}
	refusing := func(status int, code, message string, method string) []string {
		proxy := store.Proxy(t)
		proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if method == "" || r.Method == method && !r.URL.Query().Has("list-type") {
				s3test.Refuse(w, r, status, code, message)
				return
			}
			next.ServeHTTP(w, r)
		})
		return s3test.Environment(proxy.URL)
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + silent.Addr().String()
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(t.TempDir(), "config"),
		"[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\n[profile half]\naws_access_key_id = x\n")

	const day = "s3://exports/day/"
	for name, c := range map[string]struct {
		place string
		env   []string
		args  []string
		code  int
		want  string
	}{
		"wrong secret": {env: as(root, "AWS_SECRET_ACCESS_KEY=wrong"), code: 78,
			want: "the store does not accept the access key: correct the credentials (SignatureDoesNotMatch"},
		"wrong secret, one object": {env: as(root, "AWS_SECRET_ACCESS_KEY=wrong"), args: []string{"a.csv"}, code: 78,
			want: "a.csv: s3://exports/day/ at " + store.URL + ": the store does not accept the access key: correct the credentials (SignatureDoesNotMatch"},
		"unknown key": {env: as(root, "AWS_ACCESS_KEY_ID=nobody"), code: 78,
			want: "the store does not accept the access key: correct the credentials (InvalidAccessKeyId"},
		"missing bucket": {place: "s3://no-such-bucket/day", env: root, code: 78,
			want: "the bucket no-such-bucket does not exist there: correct its name, or the store's address (AWS_ENDPOINT_URL_S3)"},
		"missing bucket, one object": {place: "s3://no-such-bucket/day", env: root, args: []string{"a.csv"}, code: 78,
			want: "the bucket no-such-bucket does not exist there"},
		"missing object": {env: root, args: []string{"none.csv"}, code: 65, want: `no file matches "none.csv" in s3://exports/day/`},
		"a folder":       {place: "s3://exports", env: root, args: []string{"day"}, code: 65, want: `the path "day" is a folder: name its files, for example day/*.csv`},
		"empty prefix":   {place: "s3://exports/night", env: root, code: 65, want: "no file with the suffix .csv, .csv.gz, .csv.zst or .parquet is in s3://exports/night/"},
		"wrong region": {env: s3test.Environment(far.URL), code: 78,
			want: "set AWS_REGION"},
		"the store's region": {env: as(s3test.Environment(far.URL), "AWS_REGION=eu-west-1"), code: 65, want: "no file with the suffix"},
		"unknown certificate": {env: s3test.Environment(secure.URL), code: 78,
			want: "is signed by an unknown authority: give its certificate with --source-ca FILE"},
		"TLS to a plain port": {env: s3test.Environment(strings.Replace(store.URL, "http:", "https:", 1)), code: 78,
			want: "does not speak TLS: write http:// for it"},
		"plain to a TLS port": {env: s3test.Environment(strings.Replace(secure.URL, "https:", "http:", 1)), code: 75,
			want: "it closes the connection; if it speaks TLS, write https:// for it (after 6 attempts)"},
		"plain to another server's TLS port": {env: s3test.Environment(strings.Replace(other.URL, "https:", "http:", 1)), code: 78,
			want: "speaks TLS: write https:// for it"},
		"clock": {env: refusing(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", ""),
			code: 78, want: "this machine's clock and the store's differ too much: set it by NTP (RequestTimeTooSkewed"},
		"expired token": {env: refusing(400, "ExpiredToken", "The provided token has expired.", ""), code: 78,
			want: "the session token has expired or is not valid: renew the credentials (ExpiredToken"},
		"expired token, one object": {env: refusing(400, "ExpiredToken", "The provided token has expired.", ""), args: []string{"a.csv"}, code: 78,
			want: "the session token has expired or is not valid: renew the credentials (ExpiredToken"},
		"invalid token": {env: refusing(400, "InvalidToken", "The provided token is malformed or otherwise invalid.", ""), code: 78,
			want: "the session token has expired or is not valid: renew the credentials (InvalidToken"},
		"archived object": {env: refusing(403, "InvalidObjectState", "The operation is not valid for the object's storage class", "GET"), args: []string{"a.csv"},
			code: 65, want: "a.csv: read the file: the object is archived: restore it in the store, and run again"},
		"no permission to list": {env: user("getter"), code: 78,
			want: "its objects cannot be listed: allow s3:ListBucket for the bucket and s3:GetObject for its objects"},
		"no permission for one object": {env: user("lister"), code: 65,
			want: "b.csv: s3://exports/day/ at " + store.URL + ": the object cannot be looked up: allow s3:ListBucket for the bucket and s3:GetObject"},
		"no permission for one of two objects": {env: user("lister"), args: []string{"b.csv", "a.csv"}, code: 65,
			want: "consent: b.csv: s3://exports/day/ at " + store.URL + ": the object cannot be looked up"},
		"throttled": {env: refusing(503, "SlowDown", "Please reduce your request rate.", ""), code: 75,
			want: "its objects cannot be listed now (SlowDown: Please reduce your request rate) (after 6 attempts)"},
		"no answer":    {env: s3test.Environment(closed), code: 75, want: "no answer from " + strings.TrimPrefix(closed, "http://")},
		"no such host": {env: s3test.Environment("https://store.invalid"), code: 75, want: "no answer from store.invalid"},
		"no credentials": {env: none, code: 78,
			want: "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"},
		"no credentials, no metadata service": {env: as(none, "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+closed), code: 78,
			want: "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"},
		"a key without a secret": {env: as(none, "AWS_ACCESS_KEY_ID=reader"), code: 78,
			want: "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set: set both, or neither"},
		"empty folder of credentials": {env: none, args: []string{"--source-credentials", t.TempDir()}, code: 78,
			want: "needs the files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or access-key-id and secret-access-key), not empty"},
		"a profile that assumes a role": {env: as(none, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=role"), code: 78,
			want: "assumes a role, which is not supported: export its credentials into the environment"},
		"half a profile":  {env: as(none, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=half"), code: 78, want: "must both be set"},
		"unknown profile": {env: as(none, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=other"), code: 78, want: "the AWS profile other has no credentials in the files of ~/.aws"},
		"anonymous, private": {env: none, args: []string{"--source-anonymous", "a.csv"}, code: 78,
			want: "use other credentials (AccessDenied"},
		"a store's path in its address": {env: as(root, "AWS_ENDPOINT_URL_S3=https://h/exports"), code: 78,
			want: "expected https://HOST or https://HOST:PORT"},
		"a password in its address": {env: as(root, "AWS_ENDPOINT_URL_S3=https://u:"+s3test.SecretKey+"@h"), code: 78,
			want: "expected https://HOST or https://HOST:PORT"},
		"a port in the place": {place: "s3://127.0.0.1:9000/exports", env: root, code: 78, want: "the address of the store is AWS_ENDPOINT_URL_S3"},
		"a list":              {env: root, args: []string{"--source-list", "l"}, code: 78, want: "an s3 source lists its objects itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.place == "" {
				c.place = day
			}
			got := checkSource(t, c.place, c.env, c.args...)
			if got.code != c.code || !strings.Contains(got.stderr, c.want) {
				t.Errorf("exit code %d, want %d and %q: %s", got.code, c.code, c.want, got.stderr)
			}
			if strings.Contains(name, "one of two") && !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), "a.csv event 1 0") {
				t.Errorf("the other file is not read: %s", got.stdout)
			}
			if strings.Contains(got.stderr+got.stdout, s3test.SecretKey) {
				t.Errorf("the secret is in the output")
			}
			t.Logf("%d %s", got.code, got.stderr)
		})
	}
}

// certificate makes a certificate for 127.0.0.1 that signs itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})))
}

// TestCredentialsOfS3 reads a file with credentials from each place where the tools of AWS look for them.
func TestCredentialsOfS3(t *testing.T) {
	store := storeWithUsers(t)
	root := s3test.Environment(store.URL)
	none := as(root[:1:1], root[3:]...)
	dir := t.TempDir()
	keys := func(access, secret string) string {
		return fmt.Sprintf("aws_access_key_id = %s\naws_secret_access_key = %s\n", access, secret)
	}
	reader := keys("reader", "reader-secret")
	shared := write(t, filepath.Join(dir, "credentials"), "[default]\n"+keys("nobody", "x")+"[reader]\n"+reader)
	script := write(t, filepath.Join(dir, "process"), "#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": \"reader\", \"SecretAccessKey\": \"reader-secret\"}'\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(dir, "config"), "[default]\nregion = us-east-1\n[profile reader]\n"+reader+
		"[profile process]\ncredential_process = "+script+" now\n"+
		"[profile service]\nservices = mine\n"+reader+"[services mine]\ns3 =\n  endpoint_url = "+store.URL+"\nsts =\n  endpoint_url = http://127.0.0.1:1\n")
	token := write(t, filepath.Join(dir, "token"), "the-token")
	cert, key := certificate(t)
	secure := s3test.New(t, s3test.Options{Cert: cert, Key: key})
	for _, name := range []string{"day/a.csv", "day/b.csv"} {
		if err := secure.Put(t.Context(), name, []byte(sourceFile)); err != nil {
			t.Fatal(err)
		}
	}

	service := credentialService(t)
	for name, c := range map[string]struct {
		env  []string
		args []string
	}{
		"environment":             {env: root},
		"folder, as of AWS":       {env: none, args: []string{"--source-credentials", credentials(t, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}},
		"folder, other names":     {env: none, args: []string{"--source-credentials", credentials(t, "access-key-id", "secret-access-key")}},
		"folder before variables": {env: as(root, "AWS_ACCESS_KEY_ID=nobody"), args: []string{"--source-credentials", credentials(t, "access-key-id", "secret-access-key")}},
		"profile":                 {env: as(none, "AWS_SHARED_CREDENTIALS_FILE="+shared, "AWS_PROFILE=reader")},
		"profile of the config":   {env: as(none, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=reader")},
		"profile with a process":  {env: as(none, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=process")},
		"profile with the store":  {env: as(none[1:], "AWS_CONFIG_FILE="+config, "AWS_PROFILE=service")},
		"web identity": {env: as(none, "AWS_WEB_IDENTITY_TOKEN_FILE="+token, "AWS_ROLE_ARN=arn:aws:iam::1:role/reader",
			"AWS_ENDPOINT_URL_STS="+service+"/sts")},
		"EKS Pod Identity": {env: as(none, "AWS_CONTAINER_CREDENTIALS_FULL_URI="+service+"/v1/credentials",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+token)},
		"EC2":                {env: as(none, "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+service+"/")},
		"TLS":                {env: s3test.Environment(secure.URL), args: []string{"--source-ca", cert}},
		"TLS, AWS_CA_BUNDLE": {env: as(s3test.Environment(secure.URL), "AWS_CA_BUNDLE="+cert)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := checkSource(t, "s3://exports/day", c.env, append(c.args, "-o", "json")...)
			if files := decode[[]struct{ Rows int }](t, got); len(files) != 2 || files[0].Rows != 1 {
				t.Errorf("files %+v", files)
			}
		})
	}
	if got := checkSource(t, "s3://exports/public", none, "--source-anonymous", "a.csv"); got.code != 0 {
		t.Errorf("anonymous: exit code %d: %s", got.code, got.stderr)
	}
}

func credentials(t *testing.T, access, secret string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, access), "reader\n")
	write(t, filepath.Join(dir, secret), "reader-secret\n")
	return dir
}

// credentialService answers as AWS's token service, EKS's Pod Identity agent and EC2's metadata service do.
func credentialService(t *testing.T) string {
	t.Helper()
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sts", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != "the-token" ||
			r.FormValue("RoleArn") != "arn:aws:iam::1:role/reader" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
			<Credentials><AccessKeyId>reader</AccessKeyId><SecretAccessKey>reader-secret</SecretAccessKey><Expiration>%s</Expiration></Credentials>
			</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, expires)
	})
	role := map[string]string{"Code": "Success", "AccessKeyId": "reader", "SecretAccessKey": "reader-secret", "Expiration": expires}
	mux.HandleFunc("GET /v1/credentials", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "the-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(role)
	})
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "session") })
	instance := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, "/"):
			_, _ = io.WriteString(w, "reader-role")
		default:
			_ = json.NewEncoder(w).Encode(role)
		}
	}
	mux.HandleFunc("GET /latest/meta-data/iam/security-credentials/", instance)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// TestSecretsOfAWebSourceAreNowhere loads files with a token and signatures, some of which are refused, and looks for the
// secrets in all that the program writes.
func TestSecretsOfAWebSourceAreNowhere(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer topsecret-token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/exports/list.json":
			fmt.Fprintf(w, `["a.csv?sig=topsecret-signature", {"url": "https://%s/exports/b.csv?sig=topsecret-signature"}, "c.csv?sig=topsecret-other"]`, r.Host)
		case r.URL.Query().Get("sig") != "topsecret-signature":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "%s with %s is refused", r.URL, r.Header.Get("Authorization"))
		default:
			w.Header().Set("ETag", `"v1"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(sourceFile))
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	ca := write(t, filepath.Join(dir, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	token := filepath.Join(dir, "credentials")
	write(t, filepath.Join(token, "token"), "topsecret-token\n")
	database := warehousetest.Database(t)
	message := filepath.Join(dir, "message")

	if got := consent(t, "migrate", "--database-url", database); got.code != 0 {
		t.Fatal(got.stderr)
	}
	cmd := program(t.Context(), t, "ingest", "--source", server.URL+"/exports/?sig=topsecret-of-the-source", "--source-list", "list.json",
		"--source-credentials", token, "--source-ca", ca, "--database-url", database, "-o", "json", "--log-level", "debug",
		"--termination-message", message)
	cmd.Env = s3test.WithoutStore(cmd.Env)
	got := finish(t, cmd)
	if got.code != 78 || !strings.Contains(got.stderr, "c.csv: the credentials, or the signature in the address, are missing, expired or not accepted") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	var result struct {
		Source string
		Files  []struct{ Path, Outcome string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
		t.Fatal(err)
	}
	if want := "[{a.csv Loaded} {b.csv Loaded} {c.csv Failed}]"; fmt.Sprint(result.Files) != want || result.Source != server.URL+"/exports/" {
		t.Errorf("%s: %v, want %s", result.Source, result.Files, want)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var ledger string
	err = conn.QueryRow(t.Context(), `select concat((select json_agg(r) from raw.run r), (select json_agg(f) from raw.file f),
		(select json_agg(l) from raw.load l), (select json_agg(f) from raw.run_file f), (select json_agg(f) from raw.finding f))`).Scan(&ledger)
	if err != nil {
		t.Fatal(err)
	}
	termination, err := os.ReadFile(message)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the output": got.stdout, "the log": got.stderr, "the ledger": ledger,
		"the termination message": string(termination)} {
		if strings.Contains(text, "topsecret") || !strings.Contains(text, "c.csv") {
			t.Errorf("a secret is in %s: %s", where, text)
		}
	}
}

// TestAWebSourceBehindAProxy reaches a server only through the environment's proxy, which has a private address.
func TestAWebSourceBehindAProxy(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(sourceFile))
	}))
	defer server.Close()
	ca := write(t, filepath.Join(t.TempDir(), "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = to.Close() }()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = from.Close() }()
		go func() { _, _ = io.Copy(to, buffered) }() // ends with the connections
		_, _ = io.Copy(from, to)
	}))
	defer proxy.Close()
	environment := []string{"HTTPS_PROXY=" + proxy.URL}
	public := []string{"--source-ca", ca, "--source-private-addresses=false", "a.csv", "-o", "json"}
	files := decode[[]struct{ Rows int }](t, checkSource(t, "https://example.com/exports/", environment, public...))
	if len(files) != 1 || files[0].Rows != 1 {
		t.Errorf("files %+v", files)
	}
	for place, want := range map[string]string{
		"https://169.254.169.254/": "the address 169.254.169.254 is private, loopback or link-local",
		"https://example.org/": "the proxy " + strings.TrimPrefix(proxy.URL, "http://") + " does not connect to example.org:443: it answers 403 Forbidden: " +
			"allow it there, or correct HTTPS_PROXY or NO_PROXY",
	} {
		if got := checkSource(t, place, environment, public...); got.code != 78 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit code %d: %s", place, got.code, got.stderr)
		}
	}
	// Without the proxy, the name leads nowhere here.
	if got := checkSource(t, "https://localhost:1/", nil, public...); got.code != 78 || !strings.Contains(got.stderr, "such addresses are not allowed here") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
}
