package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/jobs/ingest"
)

// ingestFlags are the flags of the commands that ingest.
type ingestFlags struct {
	sourceID         string
	runID, runName   string
	drift            string
	nulls            []string
	maxRejectedRatio string
	force            bool
	concurrency      int
	waitFor          string
	place            placeFlags
}

// placeFlags are the flags that say where the files are.
type placeFlags struct {
	place            string
	options          source.Options
	privateAddresses bool
}

func (f *placeFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&f.place, "source", "", "`PLACE` of the files: a folder, s3://BUCKET/PREFIX or https://HOST/PATH/")
	flags.StringVar(&f.options.List, "source-list", "",
		"`path`, below an https source, of a list of its files: a path per line, or a JSON array of paths")
	flags.StringVar(&f.options.Credentials, "source-credentials", "",
		"`folder` with a file for each credential of the source. s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN "+
			"(default: as the tools of AWS find them). https: token, or username and password, or query")
	flags.StringVar(&f.options.CA, "source-ca", "", "`file` of PEM certificates to trust in addition to the system's")
	flags.BoolVar(&f.options.Anonymous, "source-anonymous", false, "do not sign requests to an s3 source, which is public")
	flags.BoolVar(&f.privateAddresses, "source-private-addresses", true,
		"whether an https source may lead to private, loopback and link-local addresses")
}

func (f *ingestFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.sourceID, "source-id", "", "`URI` that names the source in the ledger, wherever it is mounted "+
		"(default: file:// and the folder's absolute path)")
	flags.StringVar(&f.runID, "run-id", "",
		"`UUID` of the run; a retry with the same id is the same run (default: a new one)")
	flags.StringVar(&f.runName, "run-name", "", "`name` of the run, for display")
	flags.StringVar(&f.drift, "drift", string(contract.Evolve),
		"policy for columns that the contract does not know: evolve (kept in the column extra), freeze (the file fails), discard")
	flags.StringSliceVar(&f.nulls, "null", contract.DefaultNulls,
		"`TEXT,…` that stands for null in every column; an empty field always does")
	flags.StringVar(&f.maxRejectedRatio, "max-rejected-ratio", "1%",
		"a file fails if a larger `share` of its rows is rejected")
	flags.BoolVar(&f.force, "force", false, "load also files that are unchanged or were retracted")
	f.place.flags(flags)
	flags.IntVar(&f.concurrency, "concurrency", min(runtime.GOMAXPROCS(0), 8),
		"files at a time; each needs up to two connections")
	flags.StringVar(&f.waitFor, "wait-for", "", "load a file only if a file of this `NAME`, such as _SUCCESS, is in its folder or in one above it, "+
		"within the source; other files wait, which is not a failure")
}

// options checks the flags. The caller adds the database and the folder.
func (f *ingestFlags) options(a *app) (ingest.Options, error) {
	o := ingest.Options{SourceID: f.sourceID, RunName: f.runName, Force: f.force, Concurrency: f.concurrency, WaitFor: f.waitFor,
		Log: a.log}
	var err error
	if err = ingest.CheckMarker(f.waitFor); err != nil {
		return o, badConfiguration("--wait-for %w", err)
	}
	if o.Drift, err = contract.ParseDrift(f.drift); err != nil {
		return o, badConfiguration("--drift: %w", err)
	}
	if o.Nulls, err = contract.ParseNulls(f.nulls); err != nil {
		return o, badConfiguration("--null: %w", err)
	}
	if o.MaxRejectedRatio, err = parseRatio(f.maxRejectedRatio); err != nil {
		return o, badConfiguration("--max-rejected-ratio: %w", err)
	}
	if o.Concurrency < 1 {
		return o, badConfiguration("--concurrency %d: expected 1 or more", o.Concurrency)
	}
	o.RunID = uuid.New()
	if f.runID != "" {
		if o.RunID, err = uuid.Parse(f.runID); err != nil {
			return o, badConfiguration("--run-id %q: expected a UUID", f.runID)
		}
	}
	if o.RunName == "" {
		o.RunName = "consent-" + o.RunID.String()[:8]
	}
	return o, nil
}

// parseRatio reads a share such as 1% or 0.01.
func parseRatio(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	ratio, err := strconv.ParseFloat(number, 64)
	if isPercent {
		ratio /= 100
	}
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		return 0, fmt.Errorf("%q: expected a share from 0%% to 100%%, such as 1%% or 0.01", text)
	}
	return ratio, nil
}

func newIngestCommand(a *app) *cobra.Command {
	var choice databaseChoice
	var flags ingestFlags
	var pod podFlags
	var check bool
	cmd := &cobra.Command{
		Use:   "ingest --source PLACE [FILE…]",
		Short: "Load files of events and companies into Postgres, each row exactly once",
		Long: `ingest loads CSV and Parquet files of events or companies, which it recognizes by their columns. A file that is
loaded already and has not changed is only read once. A changed file replaces its rows in one commit. Rows that cannot
be loaded are kept with the reason and the place; a file with too many of them fails.

PLACE is a folder, a prefix of a bucket in Amazon S3 or a store that speaks its protocol, or an address of a web server.
For S3, the store's address, region and credentials come from where the tools of AWS take them: AWS_ENDPOINT_URL_S3,
AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws, or the identity of a pod or a machine.

FILE is a path or a glob pattern relative to the source, in which ** stands for any number of folders; without any,
all of its files are loaded. With --wait-for _SUCCESS, the files of folders that are not complete yet are not loaded:
each such folder is Waiting. With --check it only validates the files, without a database, and shows the findings with
examples.`,
		Example: `  consent ingest --source ./input --check
  consent ingest --database-url postgres://me@localhost/consent --source ./input
  consent ingest --data-dir ./data --source ./input 'events/csv/*.csv'
  AWS_PROFILE=exports consent ingest --data-dir ./data --source s3://exports/didomi 'date=2026-11-*/**/*.parquet'
  consent ingest --data-dir ./data --source https://data.example.com/exports/ --source-credentials ./token events.csv`,
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			ctx := cmd.Context()
			var result ingest.Result
			var only string
			a.message = func(err error) []byte { return ingestMessage(only, flags.waitFor, a.maxPods, result, err) }
			o, err := flags.options(a)
			if err != nil {
				return err
			}
			o.Patterns = files
			if hasEntry := cmd.Flags().Changed("entry"); hasEntry || len(pod.shards) > 0 {
				if only, err = pod.choose(files, hasEntry, &o); err != nil {
					return err
				}
			}
			place, err := flags.place.open(&o)
			if err != nil {
				return err
			}
			defer a.closeSource(place)
			if check {
				return a.check(ctx, o)
			}
			db, err := choice.open(ctx, a, "ingest")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.close()) }()
			result, err = a.ingest(ctx, db, o)
			return errors.Join(a.writeIngest(result), err)
		},
	}
	choice.flags(cmd)
	flags.flags(cmd)
	pod.flags(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "only validate the files, without a database")
	a.messageFlag(cmd)
	return cmd
}

// podFlags choose the part of the files that one pod of an Indexed Job loads.
type podFlags struct {
	entry  int
	shards []int
}

func (f *podFlags) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.entry, "entry", 0, "load only the FILE of this `number`, counted from 0, as a pod of an Indexed Job does")
	cmd.Flags().IntSliceVar(&f.shards, "shards", nil, "`NUMBER,…` of pods for each FILE, such as 1,4,1: the files that it matches are distributed over "+
		"them by the hash of their paths, and --entry counts the pods (default: one for each)")
}

// maxShards is the maximum number of shards of an entry, which the API of ConsentPipelines has, too.
const maxShards = 64

// choose sets the entry of this pod, and its shard of the files that the entry matches.
func (f *podFlags) choose(files []string, hasEntry bool, o *ingest.Options) (entry string, err error) {
	shards := f.shards
	if len(shards) == 0 {
		shards = slices.Repeat([]int{1}, len(files))
	}
	if !hasEntry {
		return "", badConfiguration("--shards without --entry: also give the number of the pod, counted from 0, whose share is to be loaded")
	}
	if len(shards) != len(files) {
		return "", badConfiguration("--shards has %d numbers for %d FILEs: give one for each FILE, in their order", len(shards), len(files))
	}
	pod := f.entry
	for i, n := range shards {
		if n < 1 || n > maxShards {
			return "", badConfiguration("--shards: number %d, for %s, is %d: expected 1 to %d", i+1, files[i], n, maxShards)
		}
		if pod >= 0 && pod < n {
			o.Patterns, o.Shard, o.Shards = files[i:i+1], pod, n
			entry = files[i]
		}
		pod -= n
	}
	if o.Shards == 0 {
		return "", badConfiguration("--entry %d: the %d FILEs have %d pods, counted from 0: give the number of one of them", f.entry,
			len(files), f.entry-pod)
	}
	return entry, nil
}

// check validates the files without a database.
func (a *app) check(ctx context.Context, o ingest.Options) error {
	results, ignored, err := ingest.Check(ctx, o)
	return errors.Join(a.writeCheck(results, ignored), err)
}

// open opens the source, and sets its name in the ledger.
func (f *placeFlags) open(o *ingest.Options) (source.Source, error) {
	if f.place == "" {
		return nil, badConfiguration("no source: give --source FOLDER, s3://BUCKET/PREFIX or https://HOST/PATH/")
	}
	f.options.PublicOnly = !f.privateAddresses
	opened, err := source.Open(f.place, f.options)
	if err != nil {
		return nil, report.New(report.BadConfig, err)
	}
	o.Source = opened
	if o.SourceID == "" {
		o.SourceID = opened.ID()
	}
	if !utf8.ValidString(o.SourceID) || len(o.SourceID) > maxSourceID {
		err = badConfiguration("the source's name, %s, is not valid UTF-8, or longer than %d bytes: give another one, --source-id URI",
			contract.Excerpt([]byte(o.SourceID), 100), maxSourceID)
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// closeSource closes a source, and logs what was requested from its server.
func (a *app) closeSource(place source.Source) {
	if remote, ok := place.(interface{ Traffic() source.Traffic }); ok {
		t := remote.Traffic()
		a.log.Info("requested from the source", "source", place.ID(), "requests", t.Requests, "bytes", t.Bytes)
	}
	_ = place.Close() // it was only read
}

// maxSourceID is the maximum length of a source's name in bytes: the ledger's index has it together with the path.
const maxSourceID = 1024

// ingest runs the ingestion on a migrated database, and shows its progress.
func (a *app) ingest(ctx context.Context, db *database, o ingest.Options) (ingest.Result, error) {
	// Each file needs one connection for its rows and at times one for the ledger.
	connections := 2*o.Concurrency + 1
	db.Ahead = true
	ledger, err := db.connect(ctx, connections)
	if err != nil {
		return ingest.Result{}, err
	}
	defer ledger.Close()
	a.readMaxPods(ctx, ledger, connections)
	a.warnOfCompression(ctx, db, ledger)
	o.DB = ledger
	o.Progress = &ingest.Progress{}
	stop := a.showIngest(o.Progress)
	defer stop()
	return ingest.Run(ctx, o)
}

func (a *app) writeIngest(result ingest.Result) error {
	if a.output == "json" {
		return writeJSON(a.stdout, result)
	}
	return writeFiles(a.stdout, result)
}

// writeFiles writes the outcome of each file.
func writeFiles(w io.Writer, result ingest.Result) error {
	t := newTable("FILE", "STATE", "ROWS", "REJECTED", "WARNINGS", "MESSAGE")
	for _, f := range result.Files {
		t.add(f.Path, string(f.Outcome), report.Count(f.Rows), report.Count(f.Rejected), report.Count(f.Warnings),
			f.Message)
	}
	if len(result.Files) == 0 {
		return nil
	}
	if err := t.write(w); err != nil {
		return err
	}
	return writeIgnored(w, result.Ignored)
}

// writeIgnored lists the ignored files by reason.
func writeIgnored(w io.Writer, ignored []source.Ignored) error {
	var reasons []string
	paths := map[string][]string{}
	for _, i := range ignored {
		if paths[i.Reason] == nil {
			reasons = append(reasons, i.Reason)
		}
		paths[i.Reason] = append(paths[i.Reason], contract.Excerpt([]byte(i.Path), maxSourceID))
	}
	for _, reason := range reasons {
		const most = 5
		names := paths[reason]
		_, err := fmt.Fprintf(w, "Ignored (%s): %s%s\n", reason, strings.Join(names[:min(len(names), most)], ", "), more(len(names)-most))
		if err != nil {
			return err
		}
	}
	return nil
}

// writeCheck writes the result of each file, then its findings.
func (a *app) writeCheck(results []ingest.CheckResult, ignored []source.Ignored) error {
	if a.output == "json" {
		return writeJSON(a.stdout, results)
	}
	t := newTable("FILE", "CONTRACT", "ROWS", "REJECTED", "WARNINGS", "FINDING", "MESSAGE")
	for _, r := range results {
		t.add(r.Path, r.Contract, report.Count(r.Rows), report.Count(r.Rejected), report.Count(r.Warnings), "", r.Message)
		for _, f := range r.Findings {
			t.add("", "", "", "", "", f.Code+" × "+report.Count(f.N), "")
		}
	}
	if err := errors.Join(t.write(a.stdout), writeIgnored(a.stdout, ignored)); err != nil {
		return err
	}
	for _, r := range results {
		var examples []warehouse.Finding
		for _, f := range r.Findings {
			examples = append(examples, f.Examples...)
		}
		if len(examples) == 0 {
			continue
		}
		fmt.Fprintf(a.stdout, "\n%s, the first of each finding:\n", r.Path)
		if err := findingsTable(examples).write(a.stdout); err != nil {
			return err
		}
	}
	return nil
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
