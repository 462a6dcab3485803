package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Traffic is what a source has requested from its server.
type Traffic struct {
	Requests int64
	Bytes    int64 // of the responses' bodies
}

// A transport sends requests and counts them.
type transport struct {
	http.Transport
	requests, bytes atomic.Int64
}

// newTransport returns a transport that trusts the options' CA and uses the environment's proxy.
func newTransport(o Options) (*transport, error) {
	roots, err := trustedRoots(o.CA)
	if err != nil {
		return nil, err
	}
	guard := &addressGuard{publicOnly: o.PublicOnly}
	return &transport{Transport: http.Transport{
		Proxy:                 guard.proxy,
		DialContext:           guard.dial,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     false, // over one connection, the columns of a Parquet file would wait for each other
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		DisableCompression:    true, // the bytes as they are stored

		OnProxyConnectResponse: checkProxy,
	}}, nil
}

// checkProxy explains why a proxy does not connect.
func checkProxy(_ context.Context, proxy *url.URL, request *http.Request, response *http.Response) error {
	err := fmt.Errorf("the proxy %s does not connect to %s: it answers %s", proxy.Host, request.Host, response.Status)
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code >= 500, code == http.StatusTooManyRequests:
		return transient(err)
	}
	return misconfigured(fmt.Errorf("%w: allow it there, or correct HTTPS_PROXY or NO_PROXY", err))
}

// trustedRoots returns the system's certificates and those of a PEM file; nil, the system's alone, without a file.
func trustedRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of --source-ca: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the file %s of --source-ca has no certificate: expected PEM (-----BEGIN CERTIFICATE-----)", file)
	}
	return roots, nil
}

// Traffic returns what was requested so far.
func (t *transport) Traffic() Traffic { return Traffic{t.requests.Load(), t.bytes.Load()} }

// RoundTrip sends a request and counts it.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	response, err := t.Transport.RoundTrip(request)
	if response != nil {
		response.Body = &countedBody{response.Body, &t.bytes}
	}
	return response, err
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// An addressGuard refuses connections to addresses that are not public: a redirect or a list must not lead to services
// that only this machine or this cluster can reach. The environment's proxy is always allowed; it decides for itself
// where it connects.
type addressGuard struct {
	publicOnly bool
	proxies    sync.Map // host:port
}

func (g *addressGuard) proxy(request *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(request)
	if proxy == nil || err != nil {
		return proxy, err
	}
	if ip, err := netip.ParseAddr(request.URL.Hostname()); err == nil && g.publicOnly && !isPublic(ip) {
		return nil, privateAddress(ip)
	}
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	g.proxies.Store(net.JoinHostPort(proxy.Hostname(), port), true)
	return proxy, nil
}

func (g *addressGuard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if _, isProxy := g.proxies.Load(address); g.publicOnly && !isProxy {
		// The check is of the address that is connected to, so that no second answer of DNS can differ.
		dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil || !isPublic(to.Addr()) {
				return privateAddress(to.Addr())
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// errPrivate is the error for an address that is not public.
var errPrivate = errors.New("private")

func privateAddress(ip netip.Addr) error {
	return fmt.Errorf("the address %s is %w, loopback or link-local, and such addresses are not allowed here: "+
		"allow them for this source (--source-private-addresses; in the chart, https.allowPrivateAddresses)", ip, errPrivate)
}

// reserved are the networks that netip's own methods do not know and that are not public either.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	// IPv4 inside; then site-local.
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isPublic reports whether an address is one of the internet.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return ip.IsGlobalUnicast() && !ip.IsPrivate() &&
		!slices.ContainsFunc(reserved, func(network netip.Prefix) bool { return network.Contains(ip) })
}

const (
	maxAttempts = 6 // of a request, and of a transfer that makes no progress
	longestWait = 10 * time.Second
)

// firstWait is the wait after the first failure, which doubles after each. Tests shorten it.
var firstWait = 200 * time.Millisecond

// attempts calls send until it succeeds, fails with an error that does not pass, or has failed maxAttempts times. It waits
// between, longer each time, and at least as long as the server asks for.
func attempts(ctx context.Context, send func() (wait time.Duration, err error)) error {
	for failures := 1; ; failures++ {
		wait, err := send()
		var marked *Error
		if err == nil || !errors.As(err, &marked) || !marked.Transient || errors.Is(err, ErrChanged) {
			return err
		}
		if failures == maxAttempts {
			return transient(fmt.Errorf("%w (after %d attempts)", marked.err, failures))
		}
		if err := pause(ctx, failures, wait); err != nil {
			return Wrap(err)
		}
	}
}

// pause waits after a number of failures.
func pause(ctx context.Context, failures int, atLeast time.Duration) error {
	wait := min(firstWait<<(failures-1), longestWait)
	wait = max(wait/2+rand.N(wait/2), min(atLeast, longestWait))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connectionError explains why a request had no response. Those that depend on settings are marked as such.
func connectionError(host string, err error) error {
	var unknown x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var marked *Error
	switch {
	case errors.As(err, &marked):
		return marked
	case errors.Is(err, context.Canceled):
		return Wrap(err)
	case errors.Is(err, errPrivate):
		return misconfigured(err)
	case errors.As(err, &unknown):
		return misconfigured(fmt.Errorf("the certificate of %s is signed by an unknown authority: "+
			"give its certificate with --source-ca FILE (%w)", host, err))
	case errors.As(err, &certificate):
		return misconfigured(fmt.Errorf("the certificate of %s is not valid: correct it, or the address (%w)", host, err))
	case errors.As(err, &record), err != nil && err.Error() == "http: server gave HTTP response to HTTPS client":
		return misconfigured(fmt.Errorf("%s does not speak TLS: write http:// for it (%w)", host, err))
	}
	return transient(fmt.Errorf("no answer from %s: %w", host, err))
}
