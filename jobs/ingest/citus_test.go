package ingest

import (
	"testing"

	"consentpipeline.io/test/warehousetest"
)

func TestLedgerAndCopyOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestFileLifecycle", "TestRetryReportsEarlierLoads", "TestRetract", "TestFindings",
		"TestLoadedValues", "TestConcurrentRuns", "TestLostConnection", "TestStoppedRun", "TestRowRefusedByPostgres",
		"TestFindingsBeforeAnErrorAreKept")
}
