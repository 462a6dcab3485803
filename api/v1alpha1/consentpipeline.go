package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A ConsentPipeline lists files to load into the warehouse. Its status has the outcome of each file.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cpl,categories={all,consent}
// +kubebuilder:selectablefield:JSONPath=`.spec.source`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Files",type=string,JSONPath=`.status.summary.files`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.summary.failed`
// +kubebuilder:printcolumn:name="Rows",type=string,JSONPath=`.status.summary.rows`
// +kubebuilder:printcolumn:name="Last Success",type=date,JSONPath=`.status.lastSuccessTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Waiting",type=integer,priority=1,JSONPath=`.status.summary.waiting`
// +kubebuilder:printcolumn:name="Next Start",type=string,priority=1,JSONPath=`.status.nextScheduleTime`
// +kubebuilder:printcolumn:name="Next Retry",type=string,priority=1,JSONPath=`.status.nextRetryTime`
// +kubebuilder:printcolumn:name="Transformed",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Transformed")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: write at most 40 characters of a-z, 0-9 and -, beginning and ending with a letter or a digit: Jobs and pods are named after it"
type ConsentPipeline struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What to load.
	// +required
	Spec ConsentPipelineSpec `json:"spec"`

	// The outcome. Only the operator writes it.
	// +kubebuilder:default:={"observedGeneration":-1}
	// +optional
	Status ConsentPipelineStatus `json:"status,omitempty"`
}

// ConsentPipelineList is a list of ConsentPipelines.
//
// +kubebuilder:object:root=true
type ConsentPipelineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ConsentPipeline `json:"items"`
}

// ConsentPipelineSpec is what to load, from where and how.
type ConsentPipelineSpec struct {
	// The files to load: 1 to 256 entries, each of which is loaded by a pod of its own, or by as many as its shards. Their order
	// does not matter.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="self.map(f, f.path.size()).sum() <= 65536",message="the paths have more than 65,536 characters together: write globs, or more than one ConsentPipeline"
	// +kubebuilder:validation:XValidation:rule="self.map(f, f.shards).sum() <= 256",message="the shards of all entries are more than 256 together, one for each entry without shards: set fewer, or write more than one ConsentPipeline"
	// +listType=map
	// +listMapKey=path
	// +required
	Files []File `json:"files"`

	// The name of the source that holds the files, one of those that the chart configures: the label
	// consentpipeline.io/source of its PodTemplate.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write the name of a source; kubectl get podtemplates -L consentpipeline.io/source lists them"
	// +required
	Source string `json:"source"`

	// Any new value starts a run; for resources that are kept in Git. To request a run without a change of the spec, set the
	// annotation consentpipeline.io/run-requested-at. A file that is loaded and unchanged costs one read.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Trigger string `json:"trigger,omitempty"`

	// The name of a marker, such as _SUCCESS. A file is loaded only if a file of this name is in its folder or in one above it,
	// within the source. Other files wait, which is not a failure; the next run looks again.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[.]{1,2}$|/|\\x00')",message="write the name of one file, without a slash, such as _SUCCESS"
	// +optional
	WaitFor string `json:"waitFor,omitempty"`

	// Starts runs by the clock, which is how new and changed files are found. A file that is loaded and unchanged costs one
	// read. A change starts no run.
	// +optional
	Schedule *Schedule `json:"schedule,omitempty"`

	// How long after its end a run is retried that failed for a reason that may pass: an unreachable database or source, a
	// deleted Job, the deadline. Only the entries that failed so are loaded again. The delay doubles with each retry, up to
	// an hour. Each resource adds up to a fifth of the delay, always the same by its UID, so that not all retry at once after an
	// outage. Bad data and bad configuration are not retried. 0s disables retries. A change applies at once.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('30s') && duration(self) <= duration('24h')",message="write a time from 30s to 24h, such as 5m, or 0s for no retries"
	// +optional
	RetryInterval *metav1.Duration `json:"retryInterval,omitempty"`

	// Which files to load.
	// +kubebuilder:default=Changed
	// +optional
	Load LoadPolicy `json:"load,omitempty"`

	// Prevents new runs, also those by schedule and retries. A run in progress goes on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// How many pods may run at once. A run gets fewer if other pipelines of the namespace need the pods that the database has
	// connections for. A change applies to the next run, and does not start one.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	// +optional
	Parallelism int32 `json:"parallelism,omitempty"`

	// How often a pod is retried after a failure that may pass, such as an unreachable database. Bad data is not retried. A
	// change applies to the next run, and does not start one.
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	// +optional
	RetriesPerFile *int32 `json:"retriesPerFile,omitempty"`

	// The share of a file's rows that may be rejected. If more are, the file fails, and none of its rows are published.
	// +kubebuilder:default="1%"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]|[1-9][0-9])([.][0-9]+)?%$') || self == '100%'",message="write a share from 0% to 100%, in quotes, such as \"1%\" or \"0.5%\""
	// +optional
	MaxRejectedRatio string `json:"maxRejectedRatio,omitempty"`

	// Texts that mean null in every column, such as NULL or n/a, instead of those of the installation (\N). An empty field
	// always means null. Case matters.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(text, !text.matches('[,\"\\n\\r]'))",message="write texts without commas, double quotes and line ends"
	// +optional
	// +listType=set
	Nulls []string `json:"nulls,omitempty"`

	// How many seconds a run may take, waiting and retries included. Time in a queue that suspends the Job, such as one of
	// Kueue, does not count: the seconds begin when the queue resumes the Job, and again after each preemption. A change applies
	// to the next run, and does not start one.
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=1
	// +optional
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds,omitempty"`

	// Whether dbt runs after the files are loaded.
	// +kubebuilder:default=AfterIngest
	// +optional
	Transform TransformPolicy `json:"transform,omitempty"`

	// How many finished Jobs are kept, with their pods and logs.
	// +kubebuilder:default:={succeeded:1,failed:1}
	// +optional
	History *HistoryLimits `json:"history,omitempty"`

	// How long a finished Job is kept at most, such as 72h or 1h30m; without it, as long as history keeps it. 0s deletes a
	// Job once its outcome is in the status.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('87600h')",message="write hours, minutes and seconds, at most 87600h (ten years), such as 72h or 1h30m"
	// +optional
	TTLAfterFinished *metav1.Duration `json:"ttlAfterFinished,omitempty"`
}

// A Schedule says when runs start, by the rules of a CronJob with the concurrencyPolicy Forbid: a start during a run waits for
// its end, and of several missed starts, the last one is made up for.
type Schedule struct {
	// When, in cron syntax: minute, hour, day of the month, month, day of the week, such as "*/15 * * * *" or
	// "0 3 * * mon-fri"; @hourly, @daily, @weekly, @monthly or @yearly; or @every and a time of at least one minute, such as
	// @every 90m.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every [0-9hms.]+|[-0-9A-Za-z*?/,]+( +[-0-9A-Za-z*?/,]+){4})$')",message="write the five fields of cron, such as \"0 3 * * *\" (at three in the morning), or a word such as @hourly; the time zone belongs in timeZone"
	// +required
	Cron string `json:"cron"`

	// The time zone of cron, by its name in the IANA database, such as Europe/Paris. Where its clocks go forward, a time
	// that does not exist is skipped; where they go back, a time that exists twice starts two runs.
	// +kubebuilder:default="Etc/UTC"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][-+_/A-Za-z0-9]*$') && self.lowerAscii() != 'local'",message="write the name of a time zone, such as Europe/Paris or Etc/UTC"
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// How many seconds after its time a start is made up for that was missed, because no operator ran, a run was in
	// progress, suspend was true or the start waited in the queue. Later, it is skipped with a Warning event. Without it, a
	// missed start is always made up for.
	// +kubebuilder:validation:Minimum=10
	// +optional
	StartingDeadlineSeconds *int64 `json:"startingDeadlineSeconds,omitempty"`
}

// HistoryLimits say how many finished Jobs are kept. Each has a pod for each shard of the entries of files.
type HistoryLimits struct {
	// How many Jobs of runs with the result Succeeded or Waiting are kept.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	Succeeded *int32 `json:"succeeded,omitempty"`

	// How many Jobs of runs with another result are kept.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	Failed *int32 `json:"failed,omitempty"`
}

// A File is one entry of the list: a file, or the files that a glob matches.
type File struct {
	// A path or a glob, relative to the source, such as events/csv/*.csv. In a glob, * and ? match within one name, [ab]
	// matches one of the characters, and ** as a whole part matches any number of folders, as in events/**/*.csv. A path
	// that exists means that file, whatever characters it has. ** alone means every CSV and Parquet file of the source, in
	// all its folders.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self != ''",message="write a path or a glob, such as events/csv/*.csv"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/')",message="write the path relative to the source, without the / at its start"
	// +kubebuilder:validation:XValidation:rule="self == '' || self.startsWith('/') || !self.matches('(^|/)[.]{0,2}(/|$)')",message="write the path without the parts . and .., without // and without a / at its end"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[^/][*][*]|[*][*][^/]')",message="** must be a whole part of the path, such as events/**/*.csv"
	// +kubebuilder:validation:XValidation:rule="!self.contains('\\x00')",message="write the path without the character NUL"
	// +required
	Path string `json:"path"`

	// How many pods share the files that the path matches. A file is in the shard that the hash of its path selects, so the
	// shards have about as many files, whatever their sizes. A change applies to the next run, and does not start one.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	// +optional
	Shards int32 `json:"shards,omitempty"`
}

// A LoadPolicy says which files to load.
//
// +kubebuilder:validation:Enum=Changed;Always
type LoadPolicy string

// The load policies.
const (
	// Files that are new or changed.
	LoadChanged LoadPolicy = "Changed"
	// Also unchanged and retracted files, once in each run.
	LoadAlways LoadPolicy = "Always"
)

// A TransformPolicy says whether dbt runs after the files are loaded.
//
// +kubebuilder:validation:Enum=AfterIngest;Never
type TransformPolicy string

// The transform policies.
const (
	// After a run that loaded something.
	TransformAfterIngest TransformPolicy = "AfterIngest"
	// Not for this resource. The schedule of the dbt CronJob still applies.
	TransformNever TransformPolicy = "Never"
)

// ConsentPipelineStatus has the outcome of the files.
type ConsentPipelineStatus struct {
	// The generation of the spec that the status describes; -1 until the operator has reconciled the resource.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready: the last run loaded everything, but for files that wait for their marker. Reconciling: a run is in progress or in
	// the queue, or a retry is to come. Stalled: a person has to act; the message says how. Queued: a run is due and waits until
	// other pipelines need fewer pods. Transformed: dbt has run over what was loaded. Reconciling, Stalled and Queued exist only
	// while they are True.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// How many runs have started.
	// +optional
	Runs int64 `json:"runs,omitempty"`

	// The run in progress.
	// +optional
	CurrentRun *Run `json:"currentRun,omitempty"`

	// The last run that ended.
	// +optional
	LastRun *FinishedRun `json:"lastRun,omitempty"`

	// When the last run with the result Succeeded ended.
	// +optional
	LastSuccessTime *metav1.Time `json:"lastSuccessTime,omitempty"`

	// The value of the annotation consentpipeline.io/run-requested-at that was handled last. Another value starts a run.
	// +optional
	LastHandledRunRequest string `json:"lastHandledRunRequest,omitempty"`

	// The next start by spec.schedule; in the past while that start waits for the end of a run or of the suspension.
	// +optional
	NextScheduleTime *metav1.Time `json:"nextScheduleTime,omitempty"`

	// The start by spec.schedule that a run handled last.
	// +optional
	LastScheduleTime *metav1.Time `json:"lastScheduleTime,omitempty"`

	// A digest of the cron and timeZone that nextScheduleTime follows.
	// +optional
	ScheduleDigest string `json:"scheduleDigest,omitempty"`

	// Since when a run that is due waits in the queue of the namespace; absent if none does. The earliest time is the head.
	// +optional
	QueuedTime *metav1.MicroTime `json:"queuedTime,omitempty"`

	// When the entries that are retryable are retried; see spec.retryInterval. Exact: what the resource adds is part of it.
	// +optional
	NextRetryTime *metav1.Time `json:"nextRetryTime,omitempty"`

	// The dbt Job that the condition Transformed describes; absent if there is none.
	// +optional
	TransformJob *JobReference `json:"transformJob,omitempty"`

	// The counts of the entries in files.
	// +optional
	Summary *Summary `json:"summary,omitempty"`

	// The runs that ended before lastRun, the newest first, at most 6.
	// +listType=atomic
	// +optional
	History []FinishedRun `json:"history,omitempty"`

	// The status of each entry: in the run in progress, or else in the last run.
	// +listType=atomic
	// +optional
	Files []FileStatus `json:"files,omitempty"`
}

// A Run is one pass over the files: one Job.
type Run struct {
	// Counts the runs of this resource, from 1.
	Number int64 `json:"number"`
	// The name of the Job: the name of the resource, a dash, the number.
	JobName string `json:"jobName"`
	// Why it was started.
	Reason RunReason `json:"reason"`
	// A digest of files, source, waitFor, load, maxRejectedRatio and nulls, as they were when the run started.
	// +optional
	SpecDigest string `json:"specDigest,omitempty"`
	// A digest of trigger, as it was when the run started.
	// +optional
	TriggerDigest string `json:"triggerDigest,omitempty"`
	// Only in the status of an earlier release: specDigest, a dash, triggerDigest. The operator moves it to those fields.
	// +optional
	Digest string `json:"digest,omitempty"`
	// When its Job was created.
	StartTime metav1.Time `json:"startTime"`
}

// A FinishedRun is a run that ended.
type FinishedRun struct {
	Run `json:",inline"`

	// When it ended.
	CompletionTime metav1.Time `json:"completionTime"`
	// How it ended.
	Result Result `json:"result"`
	// How many rows its files have in the warehouse, unchanged ones included, as far as is known.
	// +optional
	Rows int64 `json:"rows"`
	// How many rows of them were rejected.
	// +optional
	Rejected int64 `json:"rejected"`
	// The outcome in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
}

// A JobReference names a Job of the namespace.
type JobReference struct {
	// The name of the Job.
	Name string `json:"name"`
	// The UID of the Job.
	UID types.UID `json:"uid"`
}

// A RunReason says why a run was started.
type RunReason string

// The reasons for runs.
const (
	// There was no run before.
	ReasonFirstRun RunReason = "FirstRun"
	// Files, source, waitFor, load, maxRejectedRatio or nulls changed.
	ReasonSpecChanged RunReason = "SpecChanged"
	// Only the trigger changed.
	ReasonTriggerChanged RunReason = "TriggerChanged"
	// Nothing changed, but the annotation consentpipeline.io/run-requested-at has a new value.
	ReasonRunRequested RunReason = "RunRequested"
	// By spec.schedule.
	ReasonScheduled RunReason = "Scheduled"
	// By spec.retryInterval: only the entries that are retryable.
	ReasonRetry RunReason = "Retry"
)

// A Result says how a run ended.
//
// +kubebuilder:validation:Enum=Succeeded;Waiting;Partial;Failed;Interrupted
type Result string

// The results of runs.
const (
	// Every file is loaded or unchanged.
	Succeeded Result = "Succeeded"
	// Every file is, or waits for its marker.
	Waiting Result = "Waiting"
	// Some files are, and others failed.
	Partial Result = "Partial"
	// No file is, and some failed.
	Failed Result = "Failed"
	// The Job was deleted before the operator saw it end.
	Interrupted Result = "Interrupted"
)

// Summary has the counts of all entries.
type Summary struct {
	// How many files there are. An entry without a known file counts as one.
	// +optional
	FilesTotal int64 `json:"filesTotal"`
	// How many files are loaded or unchanged.
	// +optional
	FilesLoaded int64 `json:"filesLoaded"`
	// How many files failed.
	Failed int64 `json:"failed"`
	// How many files wait for the marker of spec.waitFor.
	// +optional
	Waiting int64 `json:"waiting"`
	// How many rows the files have in the warehouse.
	// +optional
	RowsLoaded int64 `json:"rowsLoaded"`
	// How many rows were rejected.
	// +optional
	RowsRejected int64 `json:"rowsRejected"`
	// filesLoaded and filesTotal as kubectl get shows them, such as 9/10.
	Files string `json:"files"`
	// rowsLoaded as kubectl get shows it, such as 25,214.
	Rows string `json:"rows"`
}

// A FileStatus is the status of one entry of spec.files.
type FileStatus struct {
	// The entry.
	Path string `json:"path"`
	// Its state and counts; those of all shards together.
	ShardStatus `json:",inline"`
	// The number of the run that the status is from.
	Run int64 `json:"run"`
	// The status of each shard, while the run is in progress; absent for an entry of one shard.
	// +listType=atomic
	// +optional
	Shards []ShardStatus `json:"shards,omitempty"`
}

// A ShardStatus is the status of an entry of spec.files, or of one of its shards.
type ShardStatus struct {
	// The state of the entry or shard: that of its worst file.
	State FileState `json:"state"`
	// How many files the entry matched.
	// +optional
	Matched int64 `json:"matched,omitempty"`
	// How many of them were loaded.
	// +optional
	Loaded int64 `json:"loaded,omitempty"`
	// How many of them are unchanged since they were loaded.
	// +optional
	Unchanged int64 `json:"unchanged,omitempty"`
	// How many of them wait for the marker of spec.waitFor.
	// +optional
	Waiting int64 `json:"waiting,omitempty"`
	// How many of them failed. An entry that matches no file counts as one.
	// +optional
	Failed int64 `json:"failed,omitempty"`
	// How many rows they have in the warehouse; absent while that is not known.
	// +optional
	Rows *int64 `json:"rows,omitempty"`
	// How many rows were rejected; absent while that is not known.
	// +optional
	Rejected *int64 `json:"rejected,omitempty"`
	// How many pods have started for it in this run.
	// +optional
	Attempts int64 `json:"attempts,omitempty"`
	// The SHA-256 of the file's bytes; absent for globs of several files.
	// +optional
	SHA256 string `json:"sha256,omitempty"`
	// Whether its files were not all loaded for a reason that may pass, so that spec.retryInterval applies. Bad data and bad
	// configuration are no such reasons.
	// +optional
	Retryable bool `json:"retryable,omitempty"`
	// What is wrong and what to do, with the first files that failed; or what the files wait for.
	// +optional
	Message string `json:"message,omitempty"`
}

// A FileState is the state of an entry.
//
// +kubebuilder:validation:Enum=Pending;Running;Loaded;Unchanged;Waiting;Failed;Skipped;Unknown
type FileState string

// The states of entries.
const (
	// Its pod has not started yet.
	FilePending FileState = "Pending"
	// Its pod runs, or is retried.
	FileRunning FileState = "Running"
	// Its rows are in the warehouse, by this run.
	FileLoaded FileState = "Loaded"
	// Its rows are in the warehouse, by an earlier run.
	FileUnchanged FileState = "Unchanged"
	// None of its files failed, and some were not loaded, because their marker is missing.
	FileWaiting FileState = "Waiting"
	// At least one of its files failed; nothing of those was published by this run.
	FileFailed FileState = "Failed"
	// The run ended before its pod started.
	FileSkipped FileState = "Skipped"
	// Its pod started and was deleted without a report. The ledger has the outcome.
	FileUnknown FileState = "Unknown"
)

// Types of conditions.
const (
	ConditionReady       = "Ready"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	ConditionQueued      = "Queued"
	ConditionTransformed = "Transformed"
)
