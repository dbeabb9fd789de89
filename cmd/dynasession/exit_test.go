package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynasession/dynasession/dynamotest"
)

// TestExitCodes checks the codes that README.md lists.
func TestExitCodes(t *testing.T) {
	server := dynamotest.NewServer()
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", server.URL())
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	code := func(args string) int {
		var out, err bytes.Buffer
		return run(strings.Fields(args), strings.NewReader("y\n"), &out, &err)
	}
	assert.Equal(t, exitTable, code("table check"))
	assert.Equal(t, exitTable, code("stats"))
	assert.Equal(t, exitTable, code("sessions ls"))
	assert.Equal(t, exitDone, code("table create"))
	assert.Equal(t, exitDone, code("table check"))
	assert.Equal(t, exitDone, code("sessions ls"))
	assert.Equal(t, exitDone, code("sweep --dry-run"))
	assert.Equal(t, exitLeft, code("sessions end 0000000000000000 --yes"))
	for _, args := range []string{"x", "sessions show", "sessions ls -o x", "sweep --segments x", "table show --format x", "keys check", "sweep", "users end alice", "--x", "table create x"} {
		assert.Equal(t, exitUsage, code(args), args)
	}
	assert.Equal(t, exitTable, code("users ls alice"), "there is no index")
	assert.Equal(t, exitError, code("config --name _"))
	server.Fault(dynamotest.Fault{Kind: dynamotest.Refuse, Code: "ThrottlingException", Times: -1})
	t.Setenv("DYNASESSION_TIMEOUT", "20ms")
	for _, args := range []string{"sessions ls", "sweep --dry-run"} {
		assert.Equal(t, exitUnavailable, code(args), args)
	}
}
