package oracle

import (
	"testing"

	"consentpipeline.io/test/warehousetest"
)

func TestMetricsOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestMarts", "TestIncrementalEqualsFullRefresh", "TestSeveralSchemas")
}
