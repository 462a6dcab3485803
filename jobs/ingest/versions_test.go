package ingest

import (
	"testing"

	"consentpipeline.io/internal/warehouse/warehousetest"
)

func TestLedgerAndCopyOnOtherVersions(t *testing.T) {
	warehousetest.RerunOnOtherVersions(t, "TestAFileThroughItsLife", "TestARetryOfARunReportsWhatItHadLoaded", "TestRetract",
		"TestFindings", "TestValuesArriveAsTheyAre", "TestParquetTypes", "TestTwoRunsAtOnce", "TestALostConnectionIsMadeAgain",
		"TestAStoppedRunLeavesNothingBehind", "TestWhatOnlyPostgresRefuses", "TestFindingsBeforeAnErrorAreKept",
		"TestSettingsOfTheDatabaseDoNotMatter", "TestNamesThatPostgresCannotStore", "FuzzAcceptedRows")
}
