package sample

import (
	"math"
	"time"
)

// The types of events.
const (
	asked    = "consent.asked"
	given    = "consent.given"
	pageview = "pageview"
	settings = "ui.action"
)

// An sdk is the kind of client that sends a visitor's events.
type sdk uint8

const (
	web sdk = iota
	app
)

var sdkNames = [2]string{"sdk-web", "sdk-mobile"}

// Sampling rates by SDK; consent.given and ui.action are never sampled. Some apps compute theirs in 32 bits.
var (
	askedRates    = [2]float64{web: 0.1, app: 0.2}
	pageviewRates = [2]float64{web: 0.03, app: 0.1}
	noisyRates    = map[float64]float64{0.2: 0.200000003, 0.1: 0.1000000015}
)

// An event is one row of the export, before it is written out.
type event struct {
	id      [16]byte
	kind    string
	rate    float64
	at      int64 // milliseconds since 1970
	consent string
	count   int64
	visitor
	text   []byte // PARAMETERS, ready; nil if there are none, or if there is a choice
	choice choice // of a consent.given
}

// A visitor has the values that all events of a visitor share.
type visitor struct {
	sdk        sdk
	user       [16]byte
	deployment string // empty where it is not known
	place      place
	device     device
}

// Durations in milliseconds. Most visitors choose within a few seconds; some leave the page open.
var (
	quickChoice = lognormal(2_600, 0.75)
	slowChoice  = lognormal(25_000, 1.6)
	delivery    = lognormal(350, 0.7)             // from a choice to its event
	takeover    = lognormal(70_000, 2.2)          // choices taken over from elsewhere
	age         = lognormal(20*24*3_600_000, 1.8) // of a token that is older than the visit
)

// A simulation generates a company's visits, one after another. It has a true rate for everything, and drops events as
// sampling does, so that estimates from the export can be compared with the profile.
type simulation struct {
	*company
	clock      int64 // of the visits, microseconds since 1970
	gap        *quantiles
	otherViews [2]float64 // e to the minus mean number of page views that are kept besides the first
	emit       func(*event)
}

func newSimulation(c *company, emit func(*event)) *simulation {
	s := &simulation{
		company: c,
		clock:   start.UnixMicro(),
		gap:     exponential(float64(c.meanGap().Microseconds())),
		emit:    emit,
	}
	for sdk, rate := range pageviewRates {
		s.otherViews[sdk] = math.Exp(-max(0, c.pageviews-1) * rate)
	}
	return s
}

// notice simulates a notice, the actions of its visitor, and those of other visitors in the meantime.
func (s *simulation) notice() {
	r := s.random
	hour := time.Duration(s.clock) * time.Microsecond / time.Hour % 24
	s.clock += int64(float64(s.gap.draw(r)) * quiet[hour])
	shown := s.clock / 1000

	v := s.visitor()
	n := s.notices.draw(r)
	returning := r.chance(s.returning)
	before := empty // the status that a visitor comes with
	if returning && r.chance(0.3) {
		before = s.given.draw(r)
	}
	askedRate, viewRate := askedRates[v.sdk], pageviewRates[v.sdk]
	// One draw decides which events of a page are kept.
	page := r.Float64()
	if page < askedRate {
		s.add(&event{
			kind: asked, rate: askedRate, at: shown + r.between(20, 300), consent: before, visitor: v,
			text: n.asked[v.sdk],
		})
	}
	if page < viewRate {
		s.add(&event{
			kind: pageview, rate: viewRate, at: shown + r.between(20, 400), consent: before, visitor: v,
			text: s.phrases.pageview.draw(r),
		})
	}
	took := s.hesitation()
	if r.chance(s.settings) {
		s.add(&event{
			kind: settings, rate: 1, at: shown + took/2 + r.between(100, 300), consent: before, visitor: v,
			text: s.phrases.settings.draw(r),
		})
	}
	if r.chance(s.conversion) {
		updated := shown + took
		choice := choice{notice: n, sdk: v.sdk, action: "click", created: shown, updated: updated}
		if returning {
			choice.created -= age.draw(r)
		}
		if r.chance(s.noAction) {
			choice.action = ""
		}
		s.give(v, choice, s.given.draw(r), updated+delivery.draw(r))
	}
	if r.chance(s.elsewhere) {
		s.takeOver(shown + r.between(0, 60_000))
	}
	for range r.poisson(s.otherViews[v.sdk]) {
		s.add(&event{
			kind: pageview, rate: viewRate, at: shown + r.between(0, 60_000), consent: s.views.draw(r),
			visitor: s.visitorOf(v.sdk), text: s.phrases.pageview.draw(r),
		})
	}
}

// hesitation is how long a visitor takes to choose.
func (s *simulation) hesitation() int64 {
	if s.random.chance(0.12) {
		return slowChoice.draw(s.random)
	}
	return quickChoice.draw(s.random)
}

// takeOver simulates a choice without a notice: it was made elsewhere and is imported.
func (s *simulation) takeOver(at int64) {
	r := s.random
	v := s.visitor()
	action := s.action
	if v.sdk == app {
		action = "external"
	}
	updated := at - r.between(80, 400)
	if action == "webview" && r.chance(0.6) {
		updated -= age.draw(r)
	}
	created := updated - 1 - takeover.draw(r)
	status := s.given.draw(r)
	if status == full && r.chance(0.4) {
		status = optOut // choices that are taken over are withdrawals more often
	}
	s.give(v, choice{
		notice: s.imported, sdk: v.sdk, action: action, created: created, updated: updated,
		previous: r.chance(0.4),
	}, status, at)
}

// give adds the event of a choice.
func (s *simulation) give(v visitor, c choice, status string, at int64) {
	sizes := c.notice.sizes
	switch status {
	case full, empty: // a notice without purposes has no status to give, whatever is enabled
		c.enabled = sizes
	case partial:
		for i, size := range sizes {
			c.enabled[i] = size
			if size > 1 {
				c.enabled[i] = int(s.random.between(1, int64(size-1)))
			}
		}
	case optOut:
		if s.keepsLI && c.action != "external" {
			c.enabled = [4]int{0, sizes[1], 0, sizes[3]}
		}
	}
	s.add(&event{kind: given, rate: 1, at: at, consent: status, visitor: v, choice: c})
}

// add completes an event and passes it on.
func (s *simulation) add(e *event) {
	r := s.random
	e.id = r.uuid()
	repeated := int64(1) // equal page views and clicks are sometimes merged into one row
	if (e.kind == pageview || e.kind == settings) && r.chance(0.06) {
		repeated = r.between(2, 3)
	}
	noisy := r.chance(0.03)
	if e.count = repeated; s.inverse {
		e.count = int64(math.Round(1 / e.rate))
	}
	if rate, sampled := noisyRates[e.rate]; sampled && noisy && e.sdk == app {
		e.rate = rate
	}
	s.emit(e)
}

func (s *simulation) visitor() visitor {
	if s.random.chance(s.mobile) {
		return s.visitorOf(app)
	}
	return s.visitorOf(web)
}

func (s *simulation) visitorOf(sdk sdk) visitor {
	r := s.random
	v := visitor{sdk: sdk, user: r.uuid(), place: s.places.draw(r), device: s.devices[sdk].draw(r)}
	if sdk == web || !r.chance(0.02) {
		v.deployment = s.deployments.draw(r)
	}
	return v
}
