package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A request is a message from the program to Postgres, with the statement that it belongs to.
type request struct {
	message  pgproto3.FrontendMessage
	sql      string // of a Query, or of the prepared statement of a Bind
	copySQL  string // the last COPY on the connection
	copyData int    // number of CopyData messages of that COPY so far, this one included
}

// A requestReader reads what a client sends. The client authenticates with SCRAM, as the embedded server requires.
type requestReader struct {
	backend  *pgproto3.Backend
	started  bool
	prepared map[string]string // SQL by name
	copySQL  string
	copyData int
}

func newRequestReader(client io.Reader) *requestReader {
	return &requestReader{backend: pgproto3.NewBackend(client, io.Discard), prepared: map[string]string{}}
}

// next returns the next message, which is valid until the next call.
func (r *requestReader) next() (q request, err error) {
	if r.started {
		q.message, err = r.backend.Receive()
	} else {
		q.message, err = r.backend.ReceiveStartupMessage()
		r.started = true
	}
	if err != nil {
		return q, err
	}
	switch m := q.message.(type) {
	case *pgproto3.StartupMessage:
		err = r.backend.SetAuthType(pgproto3.AuthTypeSASL)
	case *pgproto3.SASLInitialResponse:
		err = r.backend.SetAuthType(pgproto3.AuthTypeSASLContinue)
	case *pgproto3.Parse:
		r.prepared[m.Name] = strings.TrimSpace(m.Query)
	case *pgproto3.Bind:
		q.sql = r.prepared[m.PreparedStatement]
	case *pgproto3.CopyData:
		r.copyData++
	case *pgproto3.Query:
		q.sql = strings.TrimSpace(m.String)
		if strings.HasPrefix(q.sql, "copy ") {
			r.copySQL, r.copyData = q.sql, 0
		}
	}
	q.copySQL, q.copyData = r.copySQL, r.copyData
	return q, err
}

// A failure is what the proxy does with a matching request. Each ends with the connection closed.
type failure int

const (
	dropRequest         failure = iota // Postgres does not get the request
	dropConnection                     // Postgres gets it; the connection closes at once
	lostAcknowledgement                // Postgres executes it; the program does not get the response
	delayRequest                       // Postgres gets it after the program has lost the connection
)

// requestDelay is long enough for the program to notice the lost connection and to query the ledger on a new one.
const requestDelay = 400 * time.Millisecond

// A proxy forwards connections to Postgres until a request matches. It then fails that one connection, once.
type proxy struct {
	listener net.Listener
	server   string
	match    func(request) bool
	failure  failure

	armed   atomic.Bool
	reached chan struct{} // receives a value at the request
	resume  chan struct{} // the caller closes it after its action; the proxy then closes the connection
	serving sync.WaitGroup
}

func newProxy(server string, match func(request) bool, failure failure) (*proxy, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{
		listener: listener, server: server, match: match, failure: failure,
		reached: make(chan struct{}, 1), resume: make(chan struct{}),
	}
	p.armed.Store(true)
	p.serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			p.serving.Go(func() { p.serve(client) })
		}
	})
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// close returns when all connections have ended. It may be called again.
func (p *proxy) close() {
	p.listener.Close()
	p.serving.Wait()
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp4", p.server)
	if err != nil {
		return // Postgres is not running
	}
	defer func() { _ = server.Close() }()
	responses := &responses{dropped: make(chan struct{}, 1)}
	p.serving.Go(func() { responses.forward(server, client) })

	requests := newRequestReader(client)
	for {
		q, err := requests.next()
		if err != nil {
			return
		}
		if p.match(q) && p.armed.CompareAndSwap(true, false) {
			responses.drop.Store(true)
			p.fail(client, func() { forwardStatement(server, requests, q.message) }, responses.awaitDropped)
			return
		}
		if !send(server, q.message) {
			return
		}
	}
}

func (p *proxy) fail(client io.Closer, forward, awaitResponse func()) {
	switch p.failure {
	case dropRequest:
		p.pause()
	case dropConnection:
		forward()
		p.pause()
	case lostAcknowledgement:
		forward()
		awaitResponse()
		p.pause()
	case delayRequest:
		client.Close()
		p.pause()
		time.Sleep(requestDelay)
		forward()
		awaitResponse()
	}
}

// pause reports that the request is here, and waits for the caller's action.
func (p *proxy) pause() {
	p.reached <- struct{}{}
	<-p.resume
}

// await waits for the request. It returns false if the run ends without sending it.
func (p *proxy) await(ctx context.Context, r *process) (bool, error) {
	select {
	case <-p.reached:
		return true, nil
	case <-r.done:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func send(server io.Writer, message pgproto3.FrontendMessage) bool {
	encoded, err := message.Encode(nil)
	if err == nil {
		_, err = server.Write(encoded)
	}
	return err == nil
}

// forwardStatement sends a message. A Bind is executed by the messages up to Sync, which the client has sent with it.
func forwardStatement(server io.Writer, requests *requestReader, message pgproto3.FrontendMessage) {
	_, isExtended := message.(*pgproto3.Bind)
	for send(server, message) && isExtended {
		q, err := requests.next()
		if err != nil {
			return
		}
		message = q.message
		if _, isSync := message.(*pgproto3.Sync); isSync {
			isExtended = false
		}
	}
}

// responses are what Postgres sends on one connection.
type responses struct {
	drop    atomic.Bool   // from here on, they are not forwarded
	dropped chan struct{} // receives a value if one was dropped; closed when the connection ends
}

func (r *responses) forward(server io.Reader, client io.WriteCloser) {
	defer close(r.dropped)
	defer client.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if r.drop.Load() {
			select {
			case r.dropped <- struct{}{}:
			default:
			}
			continue
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// awaitDropped waits until Postgres has responded. Without a response, the checks after the run fail.
func (r *responses) awaitDropped() {
	select {
	case <-r.dropped:
	case <-time.After(10 * time.Second):
	}
}
