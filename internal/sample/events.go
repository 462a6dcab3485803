package sample

import (
	"bufio"
	"context"
	"strconv"
	"time"
)

// Columns of the files of events, in their order.
const (
	colEventID = iota
	colType
	colRate
	colParameters
	colEventTime
	colWindowStart
	colAPIKey
	colConsent
	colCount
	colExperiment
	colSDKType
	colDomain
	colDeploymentID
	colCountry
	colRegion
	colBrowserFamily
	colDeviceType
	colUserID
	allColumns
)

var columnNames = [allColumns]string{
	"EVENT_ID", "TYPE", "RATE", "PARAMETERS", "EVENT_TIME", "WINDOW_START", "APIKEY", "CONSENT", "COUNT", "EXPERIMENT",
	"SDK_TYPE", "DOMAIN", "DEPLOYMENT_ID", "COUNTRY", "REGION", "BROWSER_FAMILY", "DEVICE_TYPE", "USER_ID",
}

// A row is one event as text. A nil text is null. RATE and COUNT are also numbers, for files that have numbers.
type row struct {
	text   [allColumns][]byte
	rate   float64
	count  int64
	broken breakage // how the record as a whole is broken, which only a CSV file can be
}

// A rowWriter writes the rows of one file of events.
type rowWriter interface {
	write(*row) error
	close() error
}

// block is how many events are shuffled at a time: an export is in no order.
const block = 256

// writeEvents writes a company's file. It counts defects by their place in allDefects, and reports after each block.
func writeEvents(ctx context.Context, o Options, c *company, out *bufio.Writer, defects []int64, report func(done int64)) error {
	c.furnish()
	columns := allColumns
	if !o.UserID {
		columns--
	}
	var w rowWriter
	if c.format == FormatCSV {
		w = newCSVWriter(out, columns)
	} else {
		w = newParquetWriter(out, o.UserID)
	}
	rows := newComposer(c, o.Parameters)
	dirt := newSpoiler(newRandom(o.Seed, streamDirt+uint64(c.number)), o.Dirty, c, defects)

	events := make([]event, 0, block)
	var made, written int64
	s := newSimulation(c, func(e *event) {
		// The last visit is cut off when the file is full, as in an export with a limit.
		if made < c.events {
			events = append(events, *e)
			made++
		}
	})
	for written < c.events {
		if err := ctx.Err(); err != nil {
			return err
		}
		for made < c.events && len(events) < block {
			s.notice()
		}
		c.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for i := range events {
			r := rows.compose(&events[i])
			dirt.spoil(r)
			if err := w.write(r); err != nil {
				return err
			}
		}
		written += int64(len(events))
		events = events[:0]
		report(written)
	}
	return w.close()
}

// A composer turns events into rows. Its rows are valid until the next one.
type composer struct {
	*company
	parameters Parameters
	row        row
	buf        []byte
	key        []byte
}

func newComposer(c *company, parameters Parameters) *composer {
	return &composer{company: c, parameters: parameters, key: appendUUID(nil, c.key)}
}

func (c *composer) compose(e *event) *row {
	c.row = row{rate: e.rate, count: e.count}
	c.buf = c.buf[:0]
	text := &c.row.text
	text[colEventID] = c.cut(appendUUID(c.buf, e.id))
	text[colType] = c.value(e.kind)
	text[colRate] = c.cut(strconv.AppendFloat(c.buf, e.rate, 'g', -1, 64))
	text[colEventTime] = c.cut(appendTime(c.buf, e.at, ' '))
	text[colWindowStart] = c.cut(appendTime(c.buf, e.at-e.at%time.Hour.Milliseconds(), ' '))
	text[colAPIKey] = c.key
	text[colConsent] = c.value(e.consent)
	text[colCount] = c.cut(strconv.AppendInt(c.buf, e.count, 10))
	text[colSDKType] = c.value(sdkNames[e.sdk])
	text[colDomain] = c.value(c.domain)
	text[colDeploymentID] = c.value(e.deployment)
	text[colCountry] = c.value(e.place.country)
	text[colRegion] = c.value(e.place.region)
	text[colBrowserFamily] = c.value(e.device.browser)
	text[colDeviceType] = c.value(e.device.kind)
	text[colUserID] = c.cut(appendUUID(c.buf, e.user))
	if c.parameters == ParametersExported {
		text[colParameters] = e.text
		if e.choice.notice != nil {
			text[colParameters] = c.cut(c.phrases.appendChoice(c.buf, &e.choice))
		}
	}
	return &c.row
}

// cut returns the bytes appended to the buffer as a value.
func (c *composer) cut(buf []byte) []byte {
	value := buf[len(c.buf):]
	c.buf = buf
	return value
}

// value returns a text as a value; an empty text is null.
func (c *composer) value(text string) []byte {
	if text == "" {
		return nil
	}
	return c.cut(append(c.buf, text...))
}

// appendTime appends YYYY-MM-DD HH:MM:SS.mmm, with the given separator in the middle. The date is computed as in
// Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms" (civil_from_days), because time.Time would take a
// quarter of the time of a row without PARAMETERS.
func appendTime(dst []byte, milliseconds int64, separator byte) []byte {
	const day = 24 * 3_600_000
	days, rest := milliseconds/day, milliseconds%day
	shifted := days + 719_468 // since 0000-03-01
	era := shifted / 146_097
	dayOfEra := shifted % 146_097
	yearOfEra := (dayOfEra - dayOfEra/1_460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	monthFromMarch := (5*dayOfYear + 2) / 153
	month := monthFromMarch + 3
	year := yearOfEra + era*400
	if month > 12 {
		month -= 12
		year++
	}
	dst = appendDigits(dst, year, 4)
	dst = appendDigits(append(dst, '-'), month, 2)
	dst = appendDigits(append(dst, '-'), dayOfYear-(153*monthFromMarch+2)/5+1, 2)
	dst = appendDigits(append(dst, separator), rest/3_600_000, 2)
	dst = appendDigits(append(dst, ':'), rest/60_000%60, 2)
	dst = appendDigits(append(dst, ':'), rest/1_000%60, 2)
	return appendDigits(append(dst, '.'), rest%1_000, 3)
}

func appendDigits(dst []byte, n int64, digits int) []byte {
	dst = append(dst, "0000"[:digits]...)
	for i := len(dst) - 1; n > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}
