package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/spf13/cobra"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/protocol"
	"github.com/dynasession/dynasession/internal/seal"
)

// group is a row of stats: sessions of one age, or in one state.
type group struct {
	Group    string  `json:"group"`
	Sessions int     `json:"sessions"`
	Bytes    int     `json:"bytes"`
	Dollars  float64 `json:"dollarsPerMonth"` // of storage
}

func (group) columns() []string { return []string{"", "SESSIONS", "BYTES", "STORAGE/MONTH"} }

func (g group) cells() []string {
	return []string{g.Group, strconv.Itoa(g.Sessions), strconv.Itoa(g.Bytes), dollars(g.Dollars)}
}

// itemOverhead is what DynamoDB adds to the size of an item for storage.
const itemOverhead = 100

// ages are the groups of live sessions by the time since their creation.
var ages = []struct {
	name string
	upTo time.Duration
}{
	{"live, under 1 h", time.Hour}, {"live, under 1 d", 24 * time.Hour}, {"live, under 30 d", 30 * 24 * time.Hour}, {"live, older", 1 << 62},
}

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stats", Short: "Count the sessions and their bytes", Args: cobra.NoArgs,
		Long: "Count the sessions and their bytes, by age, and what storing them costs a month, at $0.25 a GB. It reads the whole table.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			groups := make([]group, len(ages)+2)
			for i := range ages {
				groups[i].Group = ages[i].name
			}
			expired, sum := &groups[len(ages)], &groups[len(ages)+1]
			expired.Group, sum.Group = "expired", "all"
			now := time.Now()
			err := a.scan(cmd, func(r *protocol.Record, size int) error {
				g := expired
				if r.Tombstone {
					return nil
				}
				if r.Expires > now.Unix() {
					age, i := now.Sub(time.Unix(r.Meta.Born, 0)), 0
					for age >= ages[i].upTo {
						i++
					}
					g = &groups[i]
				}
				for _, g := range []*group{g, sum} {
					g.Sessions++
					g.Bytes += size
					g.Dollars += float64(size+itemOverhead) / (1 << 30) * storagePrice
				}
				return nil
			})
			if err != nil {
				return err
			}
			out := newPrinter[group](cmd, a.output)
			defer out.close()
			for _, g := range groups {
				if err := out.print(g); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// scan calls f for every item of the store, with its size in bytes.
func (a *app) scan(cmd *cobra.Command, f func(r *protocol.Record, size int) error) error {
	_, client, cfg, err := a.store(cmd.Context())
	if err != nil {
		return err
	}
	columns := protocol.Columns(completed(cfg.Attributes))
	prefix := strings.TrimLeft(orDefault(cfg.Name, dynasession.DefaultName)+"_", "_")
	in := &dynamodb.ScanInput{TableName: aws.String(orDefault(cfg.Table, dynasession.DefaultTable))}
	p, n := newProgress(cmd), 0
	defer p.end()
	for pages := dynamodb.NewScanPaginator(client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(cmd.Context())
		if err != nil {
			return scanError(cmd.Context(), *in.TableName, client.Options().Region, err)
		}
		for _, item := range page.Items {
			r := columns.Record(item)
			if r == nil || !strings.HasPrefix(r.Key, prefix) {
				continue
			}
			n++
			if err := f(r, r.Size(columns)); err != nil {
				return err
			}
		}
		p.show(fmt.Sprintf("%d items", n), n)
	}
	return nil
}

// scanError wraps err in an error of the library, which decides the exit code.
func scanError(ctx context.Context, table, region string, err error) error {
	var missing *types.ResourceNotFoundException
	switch {
	case ctx.Err() != nil:
		return err
	case errors.As(err, &missing):
		return fmt.Errorf("%w: no table %q in the region %s", dynasession.ErrTable, table, region)
	}
	return fmt.Errorf("%w: %w", dynasession.ErrUnavailable, err)
}

func orDefault(v, def string) string {
	if v == "" {
		return def
	}
	return v
}

func completed(a dynasession.Attributes) dynasession.Attributes {
	return dynasession.Attributes{
		ID: orDefault(a.ID, "id"), Expires: orDefault(a.Expires, "expires"), Data: orDefault(a.Data, "data"), User: orDefault(a.User, "user"),
	}
}

// keyUse is a row of keys check.
type keyUse struct {
	Key      string `json:"key"`
	Sessions int    `json:"sessions"`
}

func (keyUse) columns() []string { return []string{"KEY", "SESSIONS"} }
func (k keyUse) cells() []string { return []string{k.Key, strconv.Itoa(k.Sessions)} }

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make and check encryption keys"}
	cmd.AddCommand(&cobra.Command{
		Use: "new", Short: "Make an encryption key, for DYNASESSION_ENCRYPTION_KEYS", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			var key [32]byte
			_, _ = rand.Read(key[:]) // never fails
			cmd.Println(base64.StdEncoding.EncodeToString(key[:]))
		},
	}, &cobra.Command{
		Use: "check", Short: "Count the live sessions that need each key", Args: cobra.NoArgs,
		Long: "Count the live sessions that need each of the keys in DYNASESSION_ENCRYPTION_KEYS, by its place there. A key that no\n" +
			"session needs can be dropped. The exit code is 4 if there are sessions that none of the keys opens. It reads the whole table.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.checkKeys(cmd) },
	})
	return cmd
}

func (a *app) checkKeys(cmd *cobra.Command) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if len(cfg.EncryptionKeys) == 0 {
		return fmt.Errorf("%w: DYNASESSION_ENCRYPTION_KEYS is empty", errUsage)
	}
	uses := make([]keyUse, len(cfg.EncryptionKeys)+1)
	sealers := make([]seal.Sealer, len(cfg.EncryptionKeys))
	for i, key := range cfg.EncryptionKeys {
		uses[i].Key = "key " + strconv.Itoa(i+1)
		sealers[i].Keys = [][]byte{key}
	}
	none := &uses[len(sealers)]
	none.Key = "none of them"
	now := time.Now().Unix()
	err = a.scan(cmd, func(r *protocol.Record, _ int) error {
		if r.Tombstone || r.Expires <= now {
			return nil
		}
		for i := range sealers {
			if _, err := sealers[i].Open(r.Data, r.Key); err == nil {
				uses[i].Sessions++
				return nil
			}
		}
		none.Sessions++
		return nil
	})
	if err != nil {
		return err
	}
	out := newPrinter[keyUse](cmd, a.output)
	defer out.close()
	for _, u := range uses {
		if err := out.print(u); err != nil {
			return err
		}
	}
	if none.Sessions > 0 {
		return fmt.Errorf("%w: %d session(s) that none of the keys opens", errLeft, none.Sessions)
	}
	return nil
}
