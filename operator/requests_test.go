package operator

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// A requestCounter counts the requests of the operator that succeeded.
type requestCounter struct {
	mutex  sync.Mutex
	counts requestCounts
}

// requestCounts are numbers of requests by method and resource, such as "POST jobs". Those for Leases are left out.
type requestCounts map[string]int

// wrapTransport makes the operator of a testEnv count.
func (c *requestCounter) wrapTransport(env *testEnv) { env.config.Wrap(c.transport) }

func (c *requestCounter) transport(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := base.RoundTrip(request)
		if resource := resourceOf(request.URL.Path); err == nil && response.StatusCode < 300 && resource != "leases" {
			c.mutex.Lock()
			defer c.mutex.Unlock()
			if c.counts == nil {
				c.counts = requestCounts{}
			}
			c.counts[request.Method+" "+resource]++
		}
		return response, err
	})
}

// proxy starts a server that passes requests on to the API server of a configuration, with its credentials, and counts them.
func (c *requestCounter) proxy(b *testing.B, config *rest.Config) *httptest.Server {
	b.Helper()
	target, err := url.Parse(config.Host)
	if err != nil {
		b.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     c.transport(transport),
		FlushInterval: -1, // of watches
	})
	server.EnableHTTP2 = true
	server.StartTLS()
	b.Cleanup(server.CloseClientConnections)
	return server
}

type roundTripper func(*http.Request) (*http.Response, error)

func (do roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return do(request) }

// resourceOf is the resource of a path of the API server, with the subresource: consentpipelines/status of
// /apis/consentpipeline.io/v1alpha1/namespaces/default/consentpipelines/september/status.
func resourceOf(path string) string {
	_, rest, found := strings.Cut(path, "/namespaces/")
	if !found {
		return "(cluster)"
	}
	parts := strings.Split(rest, "/") // namespace, resource, name, subresource
	switch {
	case len(parts) < 2:
		return "namespaces"
	case len(parts) < 4:
		return parts[1]
	}
	return parts[1] + "/" + parts[3]
}

func (c *requestCounter) snapshot() requestCounts {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return maps.Clone(c.counts)
}

func (c requestCounts) minus(before requestCounts) requestCounts {
	difference := requestCounts{}
	for request, n := range c {
		if n > before[request] {
			difference[request] = n - before[request]
		}
	}
	return difference
}

func (c requestCounts) total() (total int) {
	for _, n := range c {
		total += n
	}
	return total
}

func (c requestCounts) writes() (writes int) {
	for request, n := range c {
		if !strings.HasPrefix(request, http.MethodGet) {
			writes += n
		}
	}
	return writes
}

func (c requestCounts) String() string {
	var lines []string
	for _, request := range slices.Sorted(maps.Keys(c)) {
		lines = append(lines, fmt.Sprintf("%d %s", c[request], request))
	}
	return strings.Join(lines, ", ")
}
