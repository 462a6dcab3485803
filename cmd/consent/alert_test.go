package main

import (
	"path/filepath"
	"strings"
	"testing"

	"consentpipeline.io/internal/report"
)

// TestAlertRefusesBadSettings needs no database: the settings are checked first.
func TestAlertRefusesBadSettings(t *testing.T) {
	key := write(t, filepath.Join(t.TempDir(), "key"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	short := write(t, filepath.Join(t.TempDir(), "short"), "whsec_c2hvcnQ=\n")
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "--webhook and --webhook-key-file are needed"},
		{[]string{"--webhook", "https://hooks.example.com", "--webhook-key-file", key + "-gone"}, "no such file"},
		{[]string{"--webhook", "https://hooks.example.com", "--webhook-key-file", short}, "openssl rand -base64 32"},
		{[]string{"--webhook", "hooks.example.com", "--webhook-key-file", key}, "expected https://HOST/PATH"},
		{[]string{"--webhook", "https://hooks.example.com", "--webhook-key-file", key, "--below", "consent_rate=50"}, "such as 0.5"},
	} {
		o := consent(t, append([]string{"alert", "--database-url", "postgres://nobody@127.0.0.1:1/nothing"}, test.args...)...)
		if o.code != report.BadConfig || !strings.Contains(o.stderr, test.want) {
			t.Errorf("%q: exit code %d, %s; want %d, %q", test.args, o.code, o.stderr, report.BadConfig, test.want)
		}
	}
}
