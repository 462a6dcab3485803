package main

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestMessagesAreReadAsTheyAreSent(t *testing.T) {
	var sent bytes.Buffer
	var wanted []message
	send := func(m pgproto3.FrontendMessage, says message) {
		encoded, err := m.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		sent.Write(encoded)
		wanted = append(wanted, says)
	}
	const copying = "copy raw.event (load_id) from stdin (format binary)"
	send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}}, message{})
	send(&pgproto3.Parse{Name: "s1", Query: "\n\tinsert into raw.load"}, message{kind: 'P'})
	send(&pgproto3.Query{String: "begin"}, message{kind: 'Q', text: "begin"})
	send(&pgproto3.Query{String: copying}, message{kind: 'Q', text: copying, copied: copying})
	send(&pgproto3.CopyData{Data: []byte("one")}, message{kind: 'd', copied: copying, data: 1})
	send(&pgproto3.CopyData{Data: []byte("two")}, message{kind: 'd', copied: copying, data: 2})
	send(&pgproto3.CopyDone{}, message{kind: 'c', copied: copying, data: 2})
	send(&pgproto3.Bind{PreparedStatement: "s1"}, message{kind: 'B', text: "insert into raw.load", copied: copying, data: 2})
	send(&pgproto3.Query{String: "commit"}, message{kind: 'Q', text: "commit", copied: copying, data: 2})

	all := bytes.Clone(sent.Bytes())
	reader := &messageReader{r: &sent, prepared: map[string]string{}}
	var passed []byte
	for _, want := range wanted {
		raw, m, err := reader.next()
		if err != nil {
			t.Fatal(err)
		}
		if m != want {
			t.Errorf("read %+v, sent %+v", m, want)
		}
		passed = append(passed, raw...)
	}
	if !bytes.Equal(passed, all) {
		t.Error("what is passed on is not what was sent")
	}
	if _, _, err := reader.next(); err == nil {
		t.Error("read a message after the last")
	}
}
