package main

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestProxyForwardsRequests(t *testing.T) {
	const copying = "copy raw.event (load_id) from stdin (format binary)"
	tests := []struct {
		sent pgproto3.FrontendMessage
		want request // without the message
	}{
		{&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}}, request{}},
		{&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=\x00")}, request{}},
		{&pgproto3.SASLResponse{Data: []byte("c=biws\x00,r=1")}, request{}},
		{&pgproto3.Parse{Name: "s1", Query: "\n\tinsert into raw.load"}, request{}},
		{&pgproto3.Query{String: "begin"}, request{sql: "begin"}},
		{&pgproto3.Query{String: copying}, request{sql: copying, copySQL: copying}},
		{&pgproto3.CopyData{Data: []byte("one")}, request{copySQL: copying, copyData: 1}},
		{&pgproto3.CopyData{Data: []byte("two")}, request{copySQL: copying, copyData: 2}},
		{&pgproto3.CopyDone{}, request{copySQL: copying, copyData: 2}},
		{&pgproto3.Bind{PreparedStatement: "s1"}, request{sql: "insert into raw.load", copySQL: copying, copyData: 2}},
		{&pgproto3.Sync{}, request{copySQL: copying, copyData: 2}},
		{&pgproto3.Query{String: "commit"}, request{sql: "commit", copySQL: copying, copyData: 2}},
	}
	var sent, forwarded bytes.Buffer
	for _, test := range tests {
		if !send(&sent, test.sent) {
			t.Fatalf("%T cannot be encoded", test.sent)
		}
	}
	want := bytes.Clone(sent.Bytes())
	requests := newRequestReader(&sent)
	for _, test := range tests {
		q, err := requests.next()
		if err != nil {
			t.Fatal(err)
		}
		send(&forwarded, q.message)
		if q.message = nil; q != test.want {
			t.Errorf("%T: read %+v, want %+v", test.sent, q, test.want)
		}
	}
	if !bytes.Equal(forwarded.Bytes(), want) {
		t.Error("the bytes forwarded differ from the bytes sent")
	}
	if _, err := requests.next(); err == nil {
		t.Error("read a message after the last")
	}
}
