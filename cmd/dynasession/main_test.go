package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dynasession": main})
}

type serverKey struct{}

// TestScripts runs the scripts in testdata/script, each with a DynamoDB of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			server := dynamotest.NewServer()
			env.Defer(server.Close)
			env.Setenv("AWS_ENDPOINT_URL_DYNAMODB", server.URL())
			env.Setenv("AWS_REGION", "us-east-1")
			env.Setenv("AWS_ACCESS_KEY_ID", "test")
			env.Setenv("AWS_SECRET_ACCESS_KEY", "test")
			env.Values[serverKey{}] = server
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"seed": seed, "expire": expire, "refs": refs, "interrupt": interrupt, "throttle": throttle, "waitfor": waitFor,
		},
	})
}

func server(ts *testscript.TestScript) *dynamotest.Server {
	return ts.Value(serverKey{}).(*dynamotest.Server)
}

// seed USER N makes n sessions of a user, in the table and with the keys of the environment.
func seed(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	cfg := dynasession.Config{UserIndex: ts.Getenv("DYNASESSION_USER_INDEX")}
	for text := range strings.SplitSeq(ts.Getenv("DYNASESSION_ENCRYPTION_KEYS"), ",") {
		if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) > 0 {
			cfg.EncryptionKeys = append(cfg.EncryptionKeys, key)
		}
	}
	store, err := dynasession.New(server(ts).Client(), cfg)
	ts.Check(err)
	for i := range n {
		sess, err := store.Start(context.Background())
		ts.Check(err)
		sess.Set("device", fmt.Sprint("phone ", i))
		if args[0] != "nobody" {
			sess.SetUser(args[0])
		}
		ts.Check(sess.Save(context.Background()))
	}
}

// expire N makes n sessions expire an hour ago.
func expire(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for _, item := range server(ts).Items("sessions") {
		if n--; n < 0 {
			return
		}
		item["expires"] = &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)}
		_, err := server(ts).Client().PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String("sessions"), Item: item})
		ts.Check(err)
	}
}

// refs N sets REF1 to REFN to refs of sessions in the last output, which is jsonl.
func refs(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	lines := strings.Split(ts.ReadFile("stdout"), "\n")
	for i := range n {
		_, ref, _ := strings.Cut(lines[i], `"ref":"`)
		ref, _, _ = strings.Cut(ref, `"`)
		ts.Setenv("REF"+strconv.Itoa(i+1), ref)
	}
}

// interrupt sends the first command in the background what Ctrl-C does.
func interrupt(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.BackgroundCmds()[0].Process.Signal(os.Interrupt))
}

// throttle makes DynamoDB throttle everything.
func throttle(ts *testscript.TestScript, _ bool, _ []string) {
	server(ts).Fault(dynamotest.Fault{Kind: dynamotest.Refuse, Code: "ThrottlingException", Times: -1})
}

// waitFor ADDRESS waits until a DynamoDB answers there.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + args[0]), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	for range 200 {
		if _, err := client.ListTables(context.Background(), &dynamodb.ListTablesInput{}); err == nil || strings.Contains(err.Error(), "StatusCode: 400") {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("no answer at %s", args[0])
}
