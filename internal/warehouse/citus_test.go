package warehouse_test

import (
	"testing"

	"consentpipeline.io/test/warehousetest"
)

func TestSchemaOnCitus(t *testing.T) {
	warehousetest.RerunOnCitus(t, "TestConcurrentMigrations", "TestOpenWaitsForTheSchema", "TestSessionSettings",
		"TestSlowCompression")
}
