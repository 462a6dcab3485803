package sample

import "time"

// The consent statuses, as the column CONSENT has them.
const (
	full    = "full opt-in"
	partial = "partial opt-in"
	optOut  = "opt-out"
	empty   = "empty"
)

// A shape is how many entries each list of a notice has.
type shape struct {
	purposes, purposesLI, vendors, vendorsLI int
}

// A profile is one kind of company. Rates are per notice that was shown: the truth that metrics estimate.
type profile struct {
	industryBack, industryFront string
	headquarters                string // empty if unknown
	domain                      string
	share                       float64 // of Options.Events
	hours                       float64 // that 500 events span
	mobile                      float64 // share of visitors in an app
	desktop                     float64 // share of the other visitors at a desktop

	conversion  float64    // choices made on the notice
	elsewhere   float64    // choices taken over from elsewhere, which no notice precedes
	action      string     // of those, on the web
	givenShares [4]float64 // shares of full, partial, opt-out and empty among the choices on the notice
	noAction    float64    // share of the choices without an action
	returning   float64    // share of the choices of visitors whose token is older than the visit
	settings    float64    // times that the preferences were opened
	pageviews   float64
	viewShares  [4]float64 // shares of full, partial, opt-out and empty among page views

	home            string
	homeShare       float64
	abroad          int // number of other countries
	deploymentCount int
	position        string
	keepsLI         bool // whether an opt-out leaves legitimate interests on
	noticeShapes    []shape
	importedShape   shape // of choices taken over from elsewhere
}

// profiles are the ten kinds of companies; an export with more of them repeats the ten, with other identities.
var profiles = []profile{
	{
		industryBack: "Services", industryFront: "Services", headquarters: "Spain", domain: "harbour-bank.example",
		share: 1, hours: 6, mobile: 1,
		conversion: 0.74, givenShares: [4]float64{0.79, 0, 0.21, 0}, returning: 0.02, settings: 0.06,
		pageviews: 21, viewShares: [4]float64{0.82, 0, 0.09, 0.09},
		home: "ES", homeShare: 0.95, abroad: 12, deploymentCount: 1, position: "bottom",
		noticeShapes: []shape{{4, 4, 5, 3}},
	}, {
		industryBack: "Technology / Telecom", industryFront: "Technology", headquarters: "Belgium", domain: "lumen-cloud.example",
		share: 1, hours: 80, desktop: 0.6,
		conversion: 0.36, givenShares: [4]float64{0.76, 0, 0.24, 0}, returning: 0.06, settings: 0.035,
		pageviews: 1.2, viewShares: [4]float64{0, 0.1, 0.02, 0.88},
		home: "FR", homeShare: 0.4, abroad: 50, deploymentCount: 1, position: "bottom",
		noticeShapes: []shape{{19, 0, 9, 0}},
	}, {
		industryBack: "Travel / Hospitality", industryFront: "Travel", headquarters: "France", domain: "bookings-direct.example",
		share: 1, hours: 1, desktop: 0.28,
		conversion: 0.45, givenShares: [4]float64{0.8, 0, 0.2, 0}, returning: 0.02, settings: 0.026,
		pageviews: 4.2, viewShares: [4]float64{0, 0.3, 0.03, 0.67},
		home: "FR", homeShare: 0.55, abroad: 44, deploymentCount: 96, position: "popup",
		noticeShapes: []shape{{3, 0, 15, 0}, {13, 4, 14, 2}, {11, 2, 14, 2}, {15, 0, 36, 0}, {4, 0, 6, 0}, {2, 0, 3, 0}, {1, 0, 1, 0}},
	}, {
		industryBack: "Gaming / Sport", industryFront: "Sport", headquarters: "France", domain: "matchday-live.example",
		share: 1, hours: 142, mobile: 0.02, desktop: 0.29,
		conversion: 0.47, elsewhere: 0.006, action: "external", givenShares: [4]float64{0.78, 0, 0.22, 0}, returning: 0.02, settings: 0.012,
		pageviews: 4.3, viewShares: [4]float64{0.03, 0.48, 0.24, 0.25},
		home: "FR", homeShare: 0.58, abroad: 46, deploymentCount: 4, position: "popup",
		noticeShapes: []shape{{13, 4, 32, 1}, {13, 0, 16, 0}}, importedShape: shape{13, 6, 851, 331},
	}, {
		industryBack: "Retail / E-commerce", industryFront: "E-commerce", headquarters: "France", domain: "petal-beauty.example",
		share: 0.516, hours: 60, mobile: 1,
		conversion: 0.86, elsewhere: 0.06, action: "external", givenShares: [4]float64{0.66, 0, 0.34, 0}, noAction: 0.03, returning: 0.03, settings: 0.03,
		pageviews: 3.3, viewShares: [4]float64{0.13, 0, 0.07, 0.8},
		home: "FR", homeShare: 0.96, abroad: 7, deploymentCount: 1, position: "popup", keepsLI: true,
		noticeShapes: []shape{{15, 8, 35, 9}, {14, 8, 33, 9}, {15, 15, 33, 10}}, importedShape: shape{14, 8, 33, 9},
	}, {
		industryBack: "Media & Publishers", industryFront: "Media & Publishers", headquarters: "France", domain: "evening-courier.example",
		share: 1, hours: 1, mobile: 0.02, desktop: 0.15,
		conversion: 0.66, elsewhere: 0.14, action: "external", givenShares: [4]float64{0.66, 0.08, 0.26, 0}, returning: 0.09, settings: 0.004,
		pageviews: 5, viewShares: [4]float64{0.08, 0.62, 0.06, 0.24},
		home: "FR", homeShare: 0.68, abroad: 30, deploymentCount: 2, position: "popup",
		noticeShapes: []shape{{16, 1, 326, 1}}, importedShape: shape{16, 11, 1000, 420},
	}, {
		industryBack: "Media & Publishers", industryFront: "Media & Publishers", domain: "tagesfunk.example",
		share: 1, hours: 1, desktop: 0.1,
		conversion: 0.58, elsewhere: 0.01, action: "external", givenShares: [4]float64{0.9, 0.03, 0.07, 0}, noAction: 0.38, returning: 0.06, settings: 0.07,
		pageviews: 3.2, viewShares: [4]float64{0, 0.7, 0.02, 0.28},
		home: "DE", homeShare: 0.79, abroad: 32, deploymentCount: 5, position: "bottom", keepsLI: true,
		noticeShapes: []shape{{14, 6, 252, 55}, {14, 6, 240, 90}, {13, 6, 240, 88}}, importedShape: shape{14, 11, 1000, 420},
	}, {
		industryBack: "Gaming / Sport", industryFront: "Sport", headquarters: "United States", domain: "stadium-world.example",
		share: 1, hours: 30, mobile: 0.06, desktop: 0.13,
		conversion: 0.55, elsewhere: 0.2, action: "webview", givenShares: [4]float64{0.73, 0.01, 0.26, 0}, returning: 0.07, settings: 0.04,
		pageviews: 4.8, viewShares: [4]float64{0.05, 0.42, 0.15, 0.38},
		home: "US", homeShare: 0.2, abroad: 66, deploymentCount: 3, position: "popup",
		noticeShapes: []shape{{12, 5, 17, 5}, {12, 5, 18, 6}}, importedShape: shape{13, 6, 855, 328},
	}, {
		industryBack: "Media & Publishers", industryFront: "Media & Publishers", headquarters: "Canada", domain: "prairie-radio.example",
		share: 0.87, hours: 1, mobile: 0.14, desktop: 0.2,
		conversion: 0.44, elsewhere: 0.01, action: "webview", givenShares: [4]float64{0, 0, 0, 1}, returning: 0.08, settings: 0.03,
		pageviews: 5, viewShares: [4]float64{0, 0, 0.44, 0.56},
		home: "CA", homeShare: 0.985, abroad: 4, deploymentCount: 2, position: "bottom", keepsLI: true,
		noticeShapes: []shape{{0, 2, 0, 75}}, importedShape: shape{0, 2, 0, 75},
	}, {
		industryBack: "Gaming / Sport", industryFront: "Gaming", headquarters: "France", domain: "orbit-arcade.example",
		share: 1, hours: 1, mobile: 0.99,
		conversion: 0.9, elsewhere: 0.45, action: "external", givenShares: [4]float64{0.62, 0, 0.38, 0}, returning: 0.03, settings: 0.3,
		pageviews: 11.5, viewShares: [4]float64{0.54, 0.01, 0.2, 0.25},
		home: "US", homeShare: 0.42, abroad: 60, deploymentCount: 37, position: "popup", keepsLI: true,
		noticeShapes: []shape{{17, 6, 863, 338}, {16, 6, 860, 337}, {7, 4, 3, 1}}, importedShape: shape{17, 6, 863, 338},
	},
}

// start is when every export begins: a Monday morning.
var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// longest is what an export of many events spans at most; more events than that come more densely.
const longest = 28 * 24 * time.Hour

// quiet is how much longer the gaps between visits are in each hour of the day.
var quiet = [24]float64{
	1.9, 2.6, 3.2, 3.4, 2.9, 2.0, 1.4, 1.1, 0.95, 0.9, 0.88, 0.86,
	0.8, 0.82, 0.88, 0.88, 0.84, 0.78, 0.7, 0.65, 0.62, 0.66, 0.85, 1.3,
}

// countries are the visitors' countries other than a company's own, in no order.
var countries = []string{
	"FR", "US", "DE", "ES", "IT", "GB", "BE", "CH", "CA", "NL", "PT", "BR", "MX", "AR", "CO", "CL", "PE", "MA", "DZ", "TN",
	"SN", "CI", "CM", "ML", "GN", "RE", "GP", "MQ", "LU", "AT", "PL", "CZ", "RO", "HU", "GR", "SE", "NO", "DK", "FI", "IE",
	"TR", "IL", "AE", "SA", "EG", "IN", "VN", "TH", "ID", "PH", "JP", "KR", "AU", "NZ", "ZA", "NG", "KE", "UA", "RS", "HR",
	"BG", "SK", "EC", "VE", "UY", "PY", "BO", "GT", "CR", "DO",
}

// regions are some subdivisions of countries (ISO 3166-2); elsewhere they are numbered.
var regions = map[string][]string{
	"FR": {"IDF", "ARA", "PAC", "OCC", "NAQ", "HDF", "GES", "BRE", "PDL", "NOR", "BFC", "CVL"},
	"ES": {"MD", "CT", "AN", "VC", "GA", "PV", "CL", "CM", "AR"},
	"DE": {"NW", "BY", "BW", "NI", "HE", "BE", "SN", "HH", "RP"},
	"US": {"CA", "TX", "FL", "NY", "IL", "PA", "OH", "GA", "WA", "NC"},
	"CA": {"ON", "QC", "BC", "AB", "MB", "SK", "NS"},
	"IT": {"25", "62", "72", "21", "34"},
	"GB": {"ENG", "SCT", "WLS", "NIR"},
	"BE": {"BRU", "VAN", "WAL"},
	"NL": {"NH", "ZH", "NB", "UT", "GE"},
	"CH": {"ZH", "GE", "VD", "BE"},
	"BR": {"SP", "RJ", "MG", "BA"},
	"MX": {"CMX", "JAL", "MEX", "NLE"},
	"AR": {"B", "C", "X", "S"},
}

// industries are those of the companies without events, the finer level second.
var industries = [][2]string{
	{"Media & Publishers", "Media & Publishers"},
	{"Media & Publishers", "Media & Publishers"},
	{"Services", "Services"},
	{"Services", "Services"},
	{"Services", "Services"},
	{"Gaming / Sport", "Gaming"},
	{"Gaming / Sport", "Sport"},
	{"Technology / Telecom", "Technology"},
	{"Technology / Telecom", "Technology"},
	{"Technology / Telecom", "Telecom"},
	{"Food / Beverage / Consumer Staples", "Food"},
	{"Food / Beverage / Consumer Staples", "Beverage"},
	{"Food / Beverage / Consumer Staples", "Consumer Staples"},
	{"Retail / E-commerce", "Retail"},
	{"Retail / E-commerce", "E-commerce"},
	{"Finance / Insurance", "Finance"},
	{"Finance / Insurance", "Insurance"},
	{"Health / Pharma", "Health"},
	{"Travel / Hospitality", "Travel"},
	{"Travel / Hospitality", "Hospitality"},
	{"Education / Charity", "Education"},
	{"Other", "Other"},
}

// headquarters are the countries of the companies without events; some are unknown.
var headquarters = []string{
	"France", "France", "France", "France", "France", "Belgium", "Spain", "Germany", "Netherlands", "Italy", "Portugal",
	"Switzerland", "United Kingdom", "United States", "Canada", "", "", "",
}
