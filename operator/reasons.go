package operator

// Reasons of conditions and events. A run's own reasons and results are part of the API (v1alpha1).

// Why no run starts.
const (
	reasonRunInProgress      = "RunInProgress"
	reasonUpToDate           = "UpToDate"
	reasonSuspended          = "Suspended"
	reasonWaitingForDeletion = "WaitingForDeletion" // an earlier Job of the same name is still being deleted
	reasonNameConflict       = "NameConflict"       // a Job of another owner has the name
	reasonSourceNotFound     = "SourceNotFound"
	reasonSourceAmbiguous    = "SourceAmbiguous"
	reasonSourceInvalid      = "SourceInvalid"
	reasonScheduleInvalid    = "ScheduleInvalid"
	reasonScheduleMissed     = "ScheduleMissed" // by more than the deadline; only of events
	reasonQueued             = "Queued"         // other pipelines use the pods that the namespace may have
	reasonPodLimit           = "PodLimit"       // of the condition Queued
	reasonJobRefused         = "JobRefused"     // by a quota, a policy, a webhook
	reasonJobNotCreated      = "JobNotCreated"  // the API server could not decide
)

// Why a run, or dbt, makes no progress. Reasons of Kubernetes, such as Unschedulable, are others.
const (
	reasonPodsStuck    = "PodsStuck"    // no pod could start for stuckAfter
	reasonFailedCreate = "FailedCreate" // the pods cannot be created: a quota, Pod Security, a missing service account
	reasonJobSuspended = "JobSuspended" // by a queue or a user
	reasonNodeLost     = "NodeLost"     // a deleted pod does not end, because its node does not answer
)

// The condition Transformed. While it is Unknown, dbt has not yet run over what the last run loaded. The reason of a blocker
// is a reason of it, too: Unschedulable, JobRefused and so on.
const (
	reasonTransformPending     = "TransformPending"     // Unknown: no dbt Job has started since the run
	reasonTransformRunning     = "TransformRunning"     // Unknown: one has started
	reasonTransformDisabled    = "TransformDisabled"    // Unknown: there is no CronJob to create one from
	reasonTransformInvalid     = "TransformInvalid"     // Unknown: an annotation of the CronJob is invalid
	reasonTransformSucceeded   = "TransformSucceeded"   // True
	reasonTransformFailed      = "TransformFailed"      // False: the message names the models and tests
	reasonTransformInterrupted = "TransformInterrupted" // False: the Job was deleted
)
