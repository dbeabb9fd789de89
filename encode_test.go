package dynasession

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/internal/protocol"
)

// TestStoredDataIsOnesOwn: a record keeps its data, whatever is stored next.
func TestStoredDataIsOnesOwn(t *testing.T) {
	for name, cfg := range map[string]Config{
		"as it is":   {NoCompression: true},
		"compressed": {},
		"encrypted":  {EncryptionKeys: [][]byte{bytes.Repeat([]byte{0x11}, 32)}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(dynamodb.New(dynamodb.Options{Region: "us-east-1"}), cfg)
			require.NoError(t, err)
			var records []*protocol.Record
			plain := func(n int) []byte { return fmt.Appendf(nil, "%q", strings.Repeat(strconv.Itoa(n), 3000)) }
			for n := range 10 {
				records = append(records, &protocol.Record{Key: "k"})
				require.NoError(t, s.encode(records[n], &values{list: []KeyValue{{"a", plain(n)}}}))
			}
			for n, r := range records {
				vals, err := s.values(r)
				require.NoError(t, err)
				assert.Equal(t, string(plain(n)), string(vals.list[0].Value))
			}
		})
	}
}

// TestTooLarge: an item that DynamoDB would refuse is refused before it is compressed.
func TestTooLarge(t *testing.T) {
	s, err := New(dynamodb.New(dynamodb.Options{Region: "us-east-1"}), Config{})
	require.NoError(t, err)
	err = s.fill(&protocol.Record{Key: "k"}, bytes.Repeat([]byte("a"), protocol.MaxItem))
	require.ErrorIs(t, err, ErrTooLarge)
	assert.Contains(t, err.Error(), "409600")
	require.NoError(t, s.fill(&protocol.Record{Key: "k"}, bytes.Repeat([]byte("a"), protocol.MaxItem-4096)))
}
