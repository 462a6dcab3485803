package ingest

import (
	"testing"

	"consentpipeline.io/test/warehousetest"
)

func TestLedgerAndCopyOnOtherVersions(t *testing.T) {
	warehousetest.RerunOnOtherVersions(t, "TestAFileThroughItsLife", "TestARetryOfARunReportsWhatItHadLoaded", "TestRetract",
		"TestFindings", "TestValuesArriveAsTheyAre", "TestParquetTypes", "TestTwoRunsAtOnce", "TestALostConnectionIsMadeAgain",
		"TestAStoppedRunLeavesNothingBehind", "TestWhatOnlyPostgresRefuses", "TestFindingsBeforeAnErrorAreKept",
		"TestSettingsOfTheDatabaseDoNotMatter", "TestNamesThatPostgresCannotStore", "FuzzAcceptedRows")
}
