package dashboard

// A definition is one of the rates that companies are compared by.
type definition struct {
	Slug   string // in URLs
	Metric string // in the marts
	Name   string // of the switch
	Noun   string // at the beginning of a sentence
	Of     string // what it is a share of, …
	Parts  string // what is counted of that, …
	Is     string // and the verb between them: "39% of prompts lead to a consent"
	Title  string // of the axis
}

// definitions are the switch's positions.
var definitions = []definition{
	{"conversion", "conversion", "Conversion", "Conversion", "prompts", "consents", "lead to a consent", "consents / prompts"},
	{"choice", "choice_rate", "Choice rate", "The choice rate", "prompts", "choices", "lead to a choice", "choices / prompts"},
	{"consent", "consent_rate", "Consent rate", "The consent rate", "choices", "opt-ins", "are opt-ins", "opt-ins / choices"},
	{"opt-in", "opt_in_rate", "Opt-in rate", "The opt-in rate", "prompts", "opt-ins", "lead to an opt-in", "opt-ins / prompts"},
}

// A term is an entry of the page's glossary.
type term struct {
	ID   string
	Name string
	Text string
}

// glossary defines the page's terms; each chart links to one of them. docs/metrics.md has the details.
var glossary = []term{
	{"def-rates", "Conversion, choice, consent and opt-in rate", "A prompt is a consent.asked event, a consent is a consent.given event of any " +
		"status. Conversion is consents / prompts. The choice rate counts full opt-ins, partial opt-ins and opt-outs only. " +
		"The consent rate is opt-ins / choices, and the opt-in rate is opt-ins / prompts. " +
		"In the notice means: without consents whose action is external or webview, which no prompt of the company asked for. " +
		"A value above 100% means more consents than prompts, so it is not a conversion rate: it is shown, flagged and not compared."},
	{"def-sampling", "Recommended estimate and brief’s rule", "Events are sampled: RATE is the probability that one was kept. " +
		"The brief’s rule counts a row as COUNT / RATE events. Where COUNT is extrapolated already, that weights each sampled row twice. " +
		"The recommended estimate is COUNT / RATE, and 1 / RATE for the companies where COUNT is extrapolated already: COUNT equals " +
		"1 / RATE, rounded, in at least 90% of at least 30 sampled rows. COUNT alone ignores the sampling, and is shown for comparison."},
	{"def-intervals", "Intervals", "Both have a confidence of 95%. The sampling interval (thick bar) covers what all events of " +
		"these files would have shown: only the sampling is uncertain. The process interval (thin line) covers what the company does: " +
		"these events are themselves a sample of it. " +
		"With fewer than 5 sampled rows there is no interval; fewer than 30 are flagged as few rows. " +
		"Two companies clearly differ if 0 is outside the 95% interval of their difference, widened for the number of companies that " +
		"are compared. Intervals that overlap do not show that two companies are the same."},
	{"def-funnel", "Funnel", "From the prompt to the opt-in. The preferences are opened by a ui.action event with the action " +
		"preferences.shownpurposes. No event links a prompt to what follows it, so each share is the events of a stage divided by those of " +
		"another: openings per prompt, choices per prompt, opt-ins per choice. A visitor who opens the preferences twice counts twice, also without a prompt."},
	{"def-segments", "Segments", "The consent rate by device, browser, SDK, country, domain, deployment or position of the notice. " +
		"Effective rows are the rows of equal weight that would be as certain; with fewer than 10 a rate is withheld, because its " +
		"interval would cover half of the scale. The odds ratio (Mantel and Haenszel) compares a value with the most frequent one within " +
		"each company, so that a company whose visitors opt in more does not favour the values that are frequent there; above 1 the value " +
		"opts in more. A difference is clear if p times the number of comparisons is below 0.05. A consent has no position of its own: it " +
		"has that of its deployment, if all prompts of the deployment have the same."},
	{"def-purposes", "Purposes and vendors", "A consent lists the purposes and vendors that it enables and disables, for each legal basis. The share is " +
		"the consents that enable one, divided by those that enable or disable it; consents that do not mention it are left out. By legitimate " +
		"interest, enabled means that the visitor did not object. With fewer than 10 effective rows a share is withheld. Names are as in the files."},
	{"def-standing", "Range of other companies", "From the lowest to the highest rate of the other companies of the same industry, each counted once, with " +
		"their median. With fewer than 3 others in the industry the range is that of all other companies. All companies together are not the " +
		"mean of the companies: a company with more events has more influence."},
	{"def-statuses", "Statuses", "Full opt-in, partial opt-in, opt-out, or empty (no choice). Of consents they are what visitors chose; " +
		"of page views they are the state of the visitor when the page was seen. A coding gap: page views and consents of the same SDK write " +
		"the same opt-in differently, one as full and the other as partial."},
	{"def-time", "Time to consent", "From the prompt to the first choice, up to 30 minutes. " +
		"By user: from the prompt to the choice of the same user. By token: from the creation to the update of the consent token. " +
		"By match: from a prompt to the next choice of the same kind of visitor within 20 seconds, less what chance would match. " +
		"A company’s headline is the first of these that can be trusted, has at least 20 durations and covers at least 20% of its choices."},
	{"def-volume", "Volume", "Events of all types. Files that end at the same round number of rows look cut off: " +
		"their volume shows where the file was cut and not how large the company is. Volume per hour allows for that."},
	{"def-reach", "Reach", "Countries that events came from. A country is certain if it has an unsampled row or at least two rows, " +
		"because a single sampled row may be an error. At a sampling rate p a country is seen with a probability of 95% only if it has " +
		"ln 0.05 / ln(1 − p) events or more."},
	{"def-quality", "Data quality", "What the files themselves show about how far the numbers can be trusted. " +
		"A row that breaks the contract is rejected and kept with the reason; a doubtful field is a warning. " +
		"`consent findings` lists both with row and byte."},
}
