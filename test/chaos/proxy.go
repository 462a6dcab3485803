package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A message is one that the program sends to Postgres ("Frontend/Backend Protocol" in PostgreSQL's documentation).
type message struct {
	kind   byte   // Q: a statement; B: a prepared statement, about to be executed; d, c: data of COPY and their end
	text   string // of the statement
	copied string // the statement of the connection's last COPY
	data   int    // how many messages of data that COPY has had, this one included
}

// A proxy stands between the program and Postgres. It passes everything on, until a message comes that it waits for;
// then it breaks that connection, once.
type proxy struct {
	listener net.Listener
	server   string
	at       func(message) bool
	manner   manner

	armed   atomic.Bool
	reached chan struct{} // gets a value when the message is there
	proceed chan struct{} // is to be closed then: the connection breaks
	ended   sync.WaitGroup
}

// A manner is how a connection breaks.
type manner int

const (
	before   manner = iota // the message does not arrive
	unheard                // it arrives, nobody waits for what becomes of it
	answered               // it arrives, the answer does not
	late                   // it arrives after the program has lost the connection
)

// lateBy is enough for the program to notice, to connect again and to ask.
const lateBy = 400 * time.Millisecond

func newProxy(server string, at func(message) bool, manner manner) (*proxy, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, server: server, at: at, manner: manner,
		reached: make(chan struct{}, 1), proceed: make(chan struct{})}
	p.armed.Store(true)
	p.ended.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // close
			}
			p.ended.Go(func() { p.serve(client) })
		}
	})
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// close ends the proxy after all of its connections. It may be called again.
func (p *proxy) close() {
	p.listener.Close()
	p.ended.Wait()
}

func (p *proxy) serve(client net.Conn) {
	defer hangUp(client)
	server, err := net.Dial("tcp4", p.server)
	if err != nil {
		return // Postgres is away
	}
	defer hangUp(server)

	answers := &answers{withheld: make(chan struct{}, 1)}
	p.ended.Go(func() { answers.pass(server, client) })

	reader := &messageReader{r: client, prepared: map[string]string{}}
	for {
		raw, m, err := reader.next()
		if err != nil {
			return
		}
		if p.at(m) && p.armed.CompareAndSwap(true, false) {
			answers.isMute.Store(true)
			p.breakOff(client, func() { forward(server, reader, raw, m) }, answers.await)
			return
		}
		if _, err := server.Write(raw); err != nil {
			return
		}
	}
}

// breakOff breaks the connection at the message that the proxy waits for. forward passes the message on, and await
// waits for its answer.
func (p *proxy) breakOff(client io.Closer, forward, await func()) {
	switch p.manner {
	case before:
		p.meet()
	case unheard:
		forward()
		p.meet()
	case answered:
		forward()
		await()
		p.meet()
	case late:
		hangUp(client)
		p.meet()
		time.Sleep(lateBy)
		forward()
		await()
	}
}

// forward passes a message on. A prepared statement is executed by the messages that come along with it.
func forward(server io.Writer, reader *messageReader, raw []byte, m message) {
	_, _ = server.Write(raw) // an error: it was killed
	for kind := m.kind; kind == 'B' || kind == 'D' || kind == 'E'; {
		raw, m, err := reader.next()
		if err != nil {
			return
		}
		kind = m.kind
		_, _ = server.Write(raw)
	}
}

// The answers of Postgres on one connection.
type answers struct {
	isMute   atomic.Bool   // they are not passed on any more
	withheld chan struct{} // gets a value at each that is not passed on, and is closed at the end
}

// pass passes them on until the connection ends.
func (a *answers) pass(server io.Reader, client io.WriteCloser) {
	defer close(a.withheld)
	defer hangUp(client)
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if a.isMute.Load() {
			select {
			case a.withheld <- struct{}{}:
			default:
			}
			continue
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// await waits for one that is not passed on.
func (a *answers) await() {
	select {
	case <-a.withheld:
	case <-time.After(10 * time.Second): // a lost message shows in what the program says
	}
}

// hangUp ends a connection, which may have ended.
func hangUp(connection io.Closer) { connection.Close() }

// meet says that the moment is there, and waits until what is to happen has happened.
func (p *proxy) meet() {
	p.reached <- struct{}{}
	<-p.proceed
}

// await waits for the moment; it gives false if the run is over before.
func (p *proxy) await(ctx context.Context, r *programRun) (bool, error) {
	select {
	case <-p.reached:
		return true, nil
	case <-r.done:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// A messageReader splits what a client sends into messages.
type messageReader struct {
	r        io.Reader
	started  bool
	prepared map[string]string // statements by name
	last     message
}

// next gives a message as it was sent, and what it says.
func (r *messageReader) next() (raw []byte, m message, err error) {
	const length = 4 // bytes of a message's length, which counts itself but not the kind before it
	head := make([]byte, 1+length)
	if !r.started {
		head = head[1:] // the first message has no kind
	}
	if _, err := io.ReadFull(r.r, head); err != nil {
		return nil, m, err
	}
	n := binary.BigEndian.Uint32(head[len(head)-length:])
	if n < length || n > 1<<28 {
		return nil, m, fmt.Errorf("a message of %d bytes", n)
	}
	body := make([]byte, n-length)
	if _, err := io.ReadFull(r.r, body); err != nil {
		return nil, m, err
	}
	raw = slices.Concat(head, body)
	if !r.started {
		r.started = true
		return raw, m, nil
	}
	return raw, r.describe(head[0], body), nil
}

func (r *messageReader) describe(kind byte, body []byte) message {
	m := message{kind: kind, copied: r.last.copied, data: r.last.data}
	switch kind {
	case 'Q':
		m.text = strings.TrimSpace(string(bytes.TrimRight(body, "\x00")))
		if strings.HasPrefix(m.text, "copy ") {
			m.copied, m.data = m.text, 0
		}
	case 'P':
		name, rest, _ := bytes.Cut(body, []byte{0})
		statement, _, _ := bytes.Cut(rest, []byte{0})
		r.prepared[string(name)] = strings.TrimSpace(string(statement))
	case 'B':
		_, rest, _ := bytes.Cut(body, []byte{0}) // the portal
		name, _, _ := bytes.Cut(rest, []byte{0})
		m.text = r.prepared[string(name)]
	case 'd':
		m.data++
	}
	r.last = m
	return m
}
