package alert

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"consentpipeline.io/internal/report"
)

// A Webhook is the receiver of events.
type Webhook struct {
	URL      string
	Key      []byte        // of the signature
	Attempts int           // per event; 0 for 6
	Wait     time.Duration // before the second attempt, doubled before each further one; 0 for a second
}

// requestTimeout bounds one attempt.
const requestTimeout = 15 * time.Second

// longestWait bounds what a receiver may ask for in Retry-After.
const longestWait = time.Minute

// keyPrefix marks a key in the form of Standard Webhooks.
const keyPrefix = "whsec_"

// NewWebhook checks an address and a key, as Standard Webhooks writes it: whsec_ and 24 to 64 bytes in base64.
func NewWebhook(address, key string) (Webhook, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return Webhook{}, errors.New("the webhook's address: expected https://HOST/PATH")
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(key), keyPrefix)
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(decoded) < 24 || len(decoded) > 64 {
		return Webhook{}, fmt.Errorf("the webhook's key: expected %s and 24 to 64 bytes in base64; `echo %s$(openssl rand -base64 32)` makes one",
			keyPrefix, keyPrefix)
	}
	return Webhook{URL: address, Key: decoded}, nil
}

// sign is the signature of a message (Standard Webhooks 1.0: HMAC-SHA256 of id, timestamp and body, joined by dots).
func (w Webhook) sign(id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, w.Key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// client follows no redirect: it would turn the request into one without a body.
var client = &http.Client{Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// post posts an event until the receiver accepts it. It tries again after a timeout, a broken connection, and the statuses 408,
// 425, 429 and 5xx; any other status but 2xx is final.
func (w Webhook) post(ctx context.Context, id string, body []byte, log *slog.Logger) error {
	wait := cmp.Or(w.Wait, time.Second)
	attempts := cmp.Or(w.Attempts, 6)
	for attempt := 1; ; attempt++ {
		after, err := w.attempt(ctx, id, body)
		if err == nil {
			return nil
		}
		if attempt == attempts || report.ExitCode(err) != report.TryAgain || ctx.Err() != nil {
			return err
		}
		pause := min(max(wait, after), longestWait)
		log.Warn("the webhook did not accept an alert; trying again", "attempt", attempt, "of", attempts, "in", pause, "error", err.Error())
		select {
		case <-ctx.Done():
			return report.New(report.TryAgain, context.Cause(ctx))
		case <-time.After(pause):
		}
		wait *= 2
	}
}

// attempt posts an event once. `after` is how long the receiver wants to be left alone; 0 if it does not say.
func (w Webhook) attempt(ctx context.Context, id string, body []byte) (after time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return 0, report.New(report.BadConfig, err)
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	request.Header.Set("User-Agent", "consent-pipeline")
	request.Header.Set("Webhook-Id", id)
	request.Header.Set("Webhook-Timestamp", timestamp)
	request.Header.Set("Webhook-Signature", w.sign(id, timestamp, body))
	response, err := client.Do(request)
	if err != nil {
		// The error names the address, which may contain a secret.
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return 0, report.New(report.TryAgain, fmt.Errorf("the webhook cannot be reached: %w", err))
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 500)) // only for the message
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	status := response.StatusCode
	if status >= 200 && status < 300 {
		return 0, nil
	}
	err = fmt.Errorf("the webhook answers %s: %q", response.Status, strings.TrimSpace(string(said)))
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		if seconds, parseErr := strconv.Atoi(response.Header.Get("Retry-After")); parseErr == nil && seconds > 0 {
			after = time.Duration(min(seconds, 3600)) * time.Second
		}
		return after, report.New(report.TryAgain, err)
	}
	return 0, report.New(report.BadConfig, err)
}
