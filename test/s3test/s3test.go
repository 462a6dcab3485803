// Package s3test runs an S3 server, Versity's gateway over a folder, for tests and for test/chaos.
package s3test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"consentpipeline.io/test/testneeds"
)

// The root user's key, and the one bucket.
const (
	AccessKey = "consent-test"
	SecretKey = "consent-test-secret"
	Bucket    = "exports"
)

// Options are those of a server.
type Options struct {
	Cert, Key string // PEM files for TLS; empty: plain HTTP
	Region    string // default: us-east-1
	IAM       bool   // with users besides root
}

// A Server is a running server with an empty bucket.
type Server struct {
	URL    string
	Client *minio.Client // as root

	process *exec.Cmd
	ended   chan struct{}
	output  bytes.Buffer
}

// New starts a server that ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), testneeds.Versitygw(t), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server program with its data in a folder.
func Start(ctx context.Context, program, dir string, o Options) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", port)
	s := &Server{URL: "http://" + address, ended: make(chan struct{})}
	args := []string{"--port", address, "--quiet", "--iam-cache-disable"}
	if o.Cert != "" {
		s.URL = "https://" + address
		args = append(args, "--cert", o.Cert, "--key", o.Key)
	}
	region := "us-east-1"
	if o.Region != "" {
		region = o.Region
		args = append(args, "--region", region)
	}
	data := filepath.Join(dir, "data")
	folders := []string{data}
	if o.IAM {
		folders = append(folders, filepath.Join(dir, "iam"))
		args = append(args, "--iam-dir", folders[1])
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	s.process = exec.Command(program, append(args, "posix", data)...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "VGW_") && !strings.HasPrefix(variable, "ROOT_") {
			s.process.Env = append(s.process.Env, variable)
		}
	}
	s.process.Env = append(s.process.Env, "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	s.process.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(s.process.SysProcAttr)
	if err := s.run(); err != nil {
		return nil, err
	}
	s.Client, err = s.connect(AccessKey, SecretKey, region)
	if err == nil {
		err = s.makeBucket(ctx, region)
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("start %s: %w: %s", program, err, s.output.String())
	}
	return s, nil
}

// run starts the process, and waits for its end in the background.
func (s *Server) run() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the server is killed when the thread that started it ends
		err := s.process.Start()
		started <- err
		if err == nil {
			_ = s.process.Wait() // the output says why it ended
			close(s.ended)
		}
	}()
	return <-started
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}

// connect returns a client. It does not verify the server's certificate, which a test made.
func (s *Server) connect(access, secret, region string) (*minio.Client, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		transport.TLSClientConfig.InsecureSkipVerify = true //nolint:gosec // loopback
	}
	return minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Secure: u.Scheme == "https", Region: region, Transport: transport,
		MaxRetries: 1,
	})
}

// makeBucket waits until the server answers, and makes the bucket.
func (s *Server) makeBucket(ctx context.Context, region string) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := s.Client.MakeBucket(ctx, Bucket, minio.MakeBucketOptions{Region: region})
		var refused *net.OpError
		if !errors.As(err, &refused) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-s.ended:
			return errors.New("the server has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond): // then ask again
		}
	}
}

// Stop kills the server.
func (s *Server) Stop() {
	_ = s.process.Process.Kill() // it may have ended
	<-s.ended
}

// AddUser adds a user, who may do nothing until a policy of the bucket allows it.
func (s *Server) AddUser(ctx context.Context, access, secret string) error {
	return s.administer(ctx, "create-user", "--access", access, "--secret", secret, "--role", "user")
}

// RemoveUser removes a user.
func (s *Server) RemoveUser(ctx context.Context, access string) error {
	return s.administer(ctx, "delete-user", "--access", access)
}

func (s *Server) administer(ctx context.Context, args ...string) error {
	args = append([]string{"admin", "--access", AccessKey, "--secret", SecretKey, "--endpoint-url", s.URL}, args...)
	output, err := exec.CommandContext(ctx, s.process.Path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", args, err, output)
	}
	return nil
}

// Allow allows users to do actions, such as s3:GetObject, with the bucket and with the objects that a pattern of keys names.
// It replaces what was allowed before.
func (s *Server) Allow(ctx context.Context, statements ...Statement) error {
	policy := map[string]any{"Version": "2012-10-17", "Statement": statements}
	for i := range statements {
		statements[i].Effect = "Allow"
		for k, key := range statements[i].Resource {
			statements[i].Resource[k] = strings.TrimSuffix("arn:aws:s3:::"+Bucket+"/"+key, "/")
		}
	}
	text, err := json.Marshal(policy)
	if err != nil {
		return err
	}
	return s.Client.SetBucketPolicy(ctx, Bucket, string(text))
}

// A Statement allows users, or everybody (*), actions with objects by their keys, or with the bucket, by the empty key.
type Statement struct {
	Effect    string // Allow
	Principal []string
	Action    []string
	Resource  []string
}

// Put writes an object, which is named by its key in the bucket.
func (s *Server) Put(ctx context.Context, key string, content []byte) error {
	_, err := s.Client.PutObject(ctx, Bucket, key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{DisableMultipart: true})
	return err
}

// PutDir writes the files of a folder, each with a key below the prefix.
func (s *Server) PutDir(ctx context.Context, dir, prefix string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return s.Put(ctx, prefix+filepath.ToSlash(name), content)
	})
}

// variables are those by which a client finds a store, its credentials and a proxy.
var variables = []string{"AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

// Environment returns the variables for a client of the store at a URL, as root.
func Environment(address string) []string {
	return []string{
		"AWS_ENDPOINT_URL_S3=" + address, "AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
}

// WithoutStore returns an environment without the variables of any store.
func WithoutStore(environment []string) []string {
	return slices.DeleteFunc(slices.Clone(environment), func(variable string) bool {
		return slices.ContainsFunc(variables, func(prefix string) bool { return strings.HasPrefix(variable, prefix) })
	})
}

// Setenv sets the environment of the test for a client of the store at a URL, and removes all other settings of stores.
// More variables, NAME=value, come last.
func Setenv(t testing.TB, address string, more ...string) {
	t.Helper()
	for _, variable := range os.Environ() {
		if len(WithoutStore([]string{variable})) == 0 {
			name, _, _ := strings.Cut(variable, "=")
			t.Setenv(name, "") // which restores it after the test
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, variable := range append(Environment(address), more...) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		if value == "" {
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A Fault handles a request in place of the store, or calls next for the store's answer.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// A Proxy stands between clients and a store. Without a fault it only forwards.
type Proxy struct {
	URL string

	mu    sync.Mutex
	fault Fault
}

// Proxy starts a proxy before the server, which ends with the test.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p := &Proxy{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fault := p.fault
		p.mu.Unlock()
		if fault == nil {
			forward.ServeHTTP(w, r)
			return
		}
		fault(w, r, forward)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Set sets the fault; nil ends it.
func (p *Proxy) Set(fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// Cut forwards the first n bytes of the store's answer, and then closes the connection.
func Cut(w http.ResponseWriter, r *http.Request, next http.Handler, n int) {
	next.ServeHTTP(&cutter{ResponseWriter: w, left: n}, r)
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush() // the connection is closed next
	panic(http.ErrAbortHandler)
}

// Refuse answers as S3 does when a request fails: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
func Refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
	}
}
