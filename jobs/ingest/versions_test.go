package ingest

import (
	"testing"

	"consentpipeline.io/test/warehousetest"
)

func TestLedgerAndCopyOnOtherVersions(t *testing.T) {
	warehousetest.RerunOnOtherVersions(t, "TestFileLifecycle", "TestRetryReportsEarlierLoads", "TestRetract",
		"TestFindings", "TestLoadedValues", "TestParquetTypes", "TestConcurrentRuns", "TestLostConnection",
		"TestStoppedRun", "TestRowRefusedByPostgres", "TestFindingsBeforeAnErrorAreKept",
		"TestDatabaseSettings", "TestNamesThatPostgresCannotStore", "FuzzAcceptedRows")
}
