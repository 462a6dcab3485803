package sample

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// A company is a profile with an identity, and with everything that is drawn once: its notices and its visitors'
// places and devices.
type company struct {
	*profile
	number      int // from 1, as in the file's name
	format      Format
	events      int64
	inverse     bool // COUNT is round(1/RATE)
	key         [16]byte
	random      *random
	places      weighted[place]
	devices     [2]weighted[device] // by SDK
	deployments weighted[string]
	given       weighted[string]
	views       weighted[string]
	notices     weighted[*notice]
	imported    *notice
	phrases     *phrases
}

// A place has an event's country and region, with the quotes inside the values that exports have.
type place struct{ country, region string }

// A device has the device columns of an event; they are empty if the device was not recognized.
type device struct{ kind, browser string }

// Random streams other than the companies', which are numbered from 1.
const (
	streamCompanies = 0
	streamDirt      = 1 << 32 // plus the company's number
)

func newCompany(o Options, number int) *company {
	p := &profiles[(number-1)%len(profiles)]
	c := &company{
		profile: p,
		number:  number,
		format:  o.Format,
		events:  max(1, int64(math.Round(float64(o.Events)*p.share))),
		inverse: o.Count == CountInverse || o.Count == CountMixed && number%2 == 1,
		random:  newRandom(o.Seed, uint64(number)),
	}
	if o.Format == FormatMixed {
		c.format = FormatCSV
		if number > (o.Companies+1)/2 {
			c.format = FormatParquet
		}
	}
	c.key = c.random.uuid()
	return c
}

// path is the company's file in the export.
func (c *company) path() string {
	return fmt.Sprintf("events/%s/events-company-%d.%s", c.format, c.number, c.format)
}

// furnish draws the notices, places and devices of the company. It is separate from newCompany so that only one company at
// a time takes memory.
func (c *company) furnish() {
	r := c.random
	for i := range c.deploymentCount {
		c.deployments.add(r.word(8), 1/float64(i+2))
	}
	c.addPlaces(c.home, c.homeShare)
	abroad := make([]string, 0, len(countries))
	for _, country := range countries {
		if country != c.home {
			abroad = append(abroad, country)
		}
	}
	r.Shuffle(len(abroad), func(i, j int) { abroad[i], abroad[j] = abroad[j], abroad[i] })
	abroad = abroad[:min(c.abroad, len(abroad))]
	var sum float64
	for i := range abroad {
		sum += 1 / float64(i+1)
	}
	for i, country := range abroad {
		c.addPlaces(country, (1-c.homeShare)/sum/float64(i+1))
	}

	c.devices[web] = webDevices(c.desktop)
	c.devices[app].add(device{"smartphone", appBrowser}, 0.94)
	c.devices[app].add(device{"tablet", appBrowser}, 0.06)
	for i, status := range []string{full, partial, optOut, empty} {
		c.given.add(status, c.givenShares[i])
		c.views.add(status, c.viewShares[i])
	}
	c.phrases = newPhrases(c.format)
	for i, s := range c.noticeShapes {
		c.notices.add(newNotice(r, c.phrases, s, c.position), 1/float64(i+1))
	}
	c.imported = newNotice(r, c.phrases, c.importedShape, c.position)
}

// addPlaces adds a country's regions; for one visitor in ten the region is not known.
func (c *company) addPlaces(country string, weight float64) {
	quoted := `"` + country + `"`
	c.places.add(place{country: quoted}, weight*0.1)
	known := regions[country]
	if known == nil {
		known = []string{"01", "02", "03"}
	}
	var sum float64
	for i := range known {
		sum += 1 / float64(i+1)
	}
	for i, region := range known {
		c.places.add(place{quoted, `"` + region + `"`}, weight*0.9/sum/float64(i+1))
	}
}

// appBrowser is what events from apps have as their browser.
const appBrowser = "Consent SDK"

func webDevices(desktop float64) (w weighted[device]) {
	add := func(share float64, kind, browser string) { w.add(device{kind, browser}, share) }
	add((1-desktop)*0.43, "smartphone", "Chrome Mobile")
	add((1-desktop)*0.36, "smartphone", "Mobile Safari")
	add((1-desktop)*0.054, "smartphone", "Chrome Mobile iOS")
	add((1-desktop)*0.048, "smartphone", "Facebook")
	add((1-desktop)*0.039, "smartphone", "Samsung Browser")
	add((1-desktop)*0.006, "smartphone", "Firefox Mobile")
	add((1-desktop)*0.016, "tablet", "Chrome")
	add((1-desktop)*0.014, "tablet", "Mobile Safari")
	add((1-desktop)*0.006, "tablet", "Chrome Mobile iOS")
	add((1-desktop)*0.005, "phablet", "Chrome Mobile")
	add((1-desktop)*0.001, "television", "Chrome")
	add((1-desktop)*0.006, "", "Facebook")
	add((1-desktop)*0.006, "", "")
	add((1-desktop)*0.009, "", "Microsoft Edge")
	add(desktop*0.76, "desktop", "Chrome")
	add(desktop*0.15, "desktop", "Safari")
	add(desktop*0.05, "desktop", "Firefox")
	add(desktop*0.02, "desktop", "Microsoft Edge")
	add(desktop*0.01, "desktop", "Opera")
	add(desktop*0.01, "desktop", "Headless Chrome")
	return w
}

// meanGap is the mean time between two notices: 500 events span the profile's hours, more of them span more, up
// to four weeks.
func (c *company) meanGap() time.Duration {
	notices := float64(c.events) / c.rowsPerNotice()
	span := float64(c.events) / (500 * c.share) * c.hours * float64(time.Hour)
	return time.Duration(min(span, float64(longest)) / notices)
}

// rowsPerNotice is how many rows of the export a notice brings on average.
func (c *company) rowsPerNotice() float64 {
	rows := c.conversion + c.elsewhere + c.settings
	for sdk, share := range [2]float64{web: 1 - c.mobile, app: c.mobile} {
		kept := askedRates[sdk] + float64(pageviewRates[sdk]*max(1, c.pageviews))
		rows += float64(share * kept)
	}
	return rows
}

// companyRows lists the companies with events among three times as many without, in no order.
func companyRows(o Options, companies []*company) []string {
	r := newRandom(o.Seed, streamCompanies)
	var rows []string
	for _, c := range companies {
		rows = append(rows, companyRow(c.key, c.industryBack, c.industryFront, c.headquarters))
	}
	for range 3 * len(companies) {
		industry := industries[r.IntN(len(industries))]
		rows = append(rows, companyRow(r.uuid(), industry[0], industry[1], headquarters[r.IntN(len(headquarters))]))
	}
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

func companyRow(key [16]byte, fields ...string) string {
	return string(appendUUID(nil, key)) + "," + strings.Join(fields, ",")
}

// writeCompanies writes the file of companies. None of its values needs quotes.
func writeCompanies(out *bufio.Writer, rows []string) error {
	const header = "PUBLIC_API_KEY,INDUSTRY_BACK,INDUSTRY_FRONT,HQ_COUNTRY"
	_, err := io.WriteString(out, header+"\r\n"+strings.Join(rows, "\r\n")+"\r\n")
	return err
}

func appendUUID(dst []byte, id [16]byte) []byte {
	dst = hex.AppendEncode(dst, id[:4])
	for _, part := range [][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		dst = hex.AppendEncode(append(dst, '-'), part)
	}
	return dst
}
