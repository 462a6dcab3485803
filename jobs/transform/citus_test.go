package transform

import (
	"testing"

	"consentpipeline.io/test/warehousetest"
)

func TestRunsOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestRunSkipsUnchangedBuild", "TestInterruptedRun", "TestConcurrentRuns")
}
