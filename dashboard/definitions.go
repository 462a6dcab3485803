package dashboard

// A definition is one way to say what a conversion is.
type definition struct {
	Slug   string // in URLs
	Metric string // in the marts
	Name   string // of the switch
	Is     string // in words, after a percentage: "39% of notices are followed by …"
	Title  string // of the axis
}

// definitions are the switch's positions.
var definitions = []definition{
	{"conversion", "conversion", "Conversion", "of notices are followed by a consent event", "consent.given / consent.asked"},
	{"choice", "choice_rate", "Choice", "of notices are answered with a choice", "choices / consent.asked"},
	{"consent", "consent_rate", "Consent", "of choices are opt-ins", "opt-ins / choices"},
	{"opt-in", "opt_in_rate", "Opt-in", "of notices are answered with an opt-in", "opt-ins / consent.asked"},
}

// A term is an entry of the page's glossary.
type term struct {
	ID   string
	Name string
	Text string
}

// glossary says what the page's words mean; each chart links to one of them. docs/metrics.md says more.
var glossary = []term{
	{"def-rates", "Conversion, choice, consent, opt-in", "Conversion is consent.given / consent.asked. " +
		"Choice is the share of notices that were answered with a full or partial opt-in or an opt-out. " +
		"Consent is opt-ins among these choices, and opt-in is opt-ins among notices. " +
		"Scope “notice” leaves out what was set by another application or a web view instead of the notice. " +
		"More can be given than was asked, for a visitor may change a choice without being asked again: " +
		"a value above 100% is shown as it is and flagged, for it is no rate of a notice."},
	{"def-sampling", "Extrapolation", "Not every event is kept: RATE is the chance that it was. " +
		"COUNT / RATE is the rule by which a row stands for so many events. 1 / RATE leaves COUNT out, and COUNT leaves RATE out."},
	{"def-weighting", "Weighted twice", "In many exports COUNT is already 1 / RATE, so that COUNT / RATE weights each row twice. " +
		"It is detected per company: at least 30 sampled rows with a COUNT, which equals 1 / RATE, rounded, in 90% or more. " +
		"The rule’s number then has no interval, and 1 / RATE stands beside it with one."},
	{"def-intervals", "Intervals", "Both are at 95%. The thick bar is what all events of these files would have shown " +
		"(only the sampling is uncertain). The thin whisker is what the company does (these events are themselves a draw). " +
		"With fewer than 5 sampled rows there is no interval; with fewer than 30 it is marked as resting on few rows. " +
		"Two companies clearly differ where 0 is outside of the 95% interval of their difference, widened for the number of companies that " +
		"are compared; whether their own intervals overlap does not tell that."},
	{"def-statuses", "Statuses", "Full opt-in, partial opt-in, opt-out, or empty, which is neither. " +
		"Of consent.given they are what visitors chose; of all events they are the state in which each event happened."},
	{"def-time", "Time to consent", "From the notice to the first choice on it, where that took at most 30 minutes. " +
		"user_id pairs the two events of a user; embedded takes the times in the consent token; matched pairs notices with " +
		"the next choice of the same kind of visitor within 20 seconds, less what chance would pair. " +
		"The first of these that stands is the headline; coverage is how many of the choices it measures."},
	{"def-volume", "Volume", "Events of all types, extrapolated. Files that end at the same round number of rows look cut off: " +
		"their companies’ volumes say more of the cut than of the company, so that volume per observed hour is given too."},
	{"def-reach", "Reach", "Countries that events came from. Certain are those with an unsampled event or with two events, " +
		"for a single sampled one may be an error. At a sampling rate p a country is seen with 95% certainty only from " +
		"ln 0.05 / ln(1 − p) events on."},
	{"def-quality", "Data quality", "A row that breaks the contract is rejected and kept with the reason; a doubtful field is a warning. " +
		"`consent findings` lists them with row and byte."},
}
