package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
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

// TestInterrupt sends a sweep what Ctrl-C does: it says what was done, and ends with 130.
func TestInterrupt(t *testing.T) {
	server := dynamotest.NewServer()
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", server.URL())
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	store, err := dynasession.New(server.Client(), dynasession.Config{})
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	for range 100 {
		id := store.CreateID()
		require.NoError(t, store.Write(t.Context(), id, nil))
	}
	past := &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)}
	for _, item := range server.Items(dynasession.DefaultTable) {
		item["expires"] = past
		_, err := server.Client().PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(dynasession.DefaultTable), Item: item})
		require.NoError(t, err)
	}
	server.ResetCalls()
	var out, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(strings.Fields("sweep --yes --units-per-second 5"), strings.NewReader(""), &out, &stderr)
	}()
	require.Eventually(t, func() bool { return server.Calls().Count("DeleteItem") > 0 }, 30*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	assert.Equal(t, exitInterrupted, <-code)
	assert.Contains(t, stderr.String(), "interrupted")
	deleted := server.Calls().Count("DeleteItem")
	assert.Less(t, deleted, 100)
	assert.Len(t, server.Items(dynasession.DefaultTable), 100-deleted, "what was under way was finished")
	assert.Regexp(t, fmt.Sprintf(`(?m)^\d+ +\d+ +%d `, deleted), out.String())
}
