package dynasession

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// inputWriter writes what the table asks as a rule, in the JSON that the SDK would write.
type inputWriter struct {
	buf   []byte
	other bool // something is not as usual
}

// appendInput writes the input of a call, or tells that it must be left to the SDK. It writes those
// members that the table sets, and none that is not set.
func appendInput(buf []byte, input any) (body []byte, ok bool) {
	w := &inputWriter{buf: append(buf, '{')}
	switch in := input.(type) {
	case *dynamodb.GetItemInput:
		w.member("TableName", in.TableName)
		w.attributes("Key", in.Key)
		if in.ConsistentRead != nil {
			w.word("ConsistentRead")
			w.buf = strconv.AppendBool(w.buf, *in.ConsistentRead)
		}
		w.choice("ReturnConsumedCapacity", string(in.ReturnConsumedCapacity))
	case *dynamodb.PutItemInput:
		w.member("TableName", in.TableName)
		w.attributes("Item", in.Item)
		w.condition(in.ConditionExpression, in.ReturnValuesOnConditionCheckFailure)
		w.placeholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues)
		w.choice("ReturnConsumedCapacity", string(in.ReturnConsumedCapacity))
	case *dynamodb.UpdateItemInput:
		w.member("TableName", in.TableName)
		w.attributes("Key", in.Key)
		w.member("UpdateExpression", in.UpdateExpression)
		w.choice("ReturnValues", string(in.ReturnValues))
		w.condition(in.ConditionExpression, in.ReturnValuesOnConditionCheckFailure)
		w.placeholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues)
		w.choice("ReturnConsumedCapacity", string(in.ReturnConsumedCapacity))
	case *dynamodb.DeleteItemInput:
		w.member("TableName", in.TableName)
		w.attributes("Key", in.Key)
		w.condition(in.ConditionExpression, in.ReturnValuesOnConditionCheckFailure)
		w.placeholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues)
		w.choice("ReturnConsumedCapacity", string(in.ReturnConsumedCapacity))
	default:
		w.other = true
	}
	return append(w.buf, '}'), !w.other
}

// name begins a member of an object.
func (w *inputWriter) name(name string) {
	w.comma()
	w.text(name)
	w.buf = append(w.buf, ':')
}

// word is name for a word of DynamoDB's, which needs no quoting.
func (w *inputWriter) word(word string) {
	w.comma()
	w.buf = append(append(append(w.buf, '"'), word...), '"', ':')
}

func (w *inputWriter) comma() {
	if w.buf[len(w.buf)-1] != '{' {
		w.buf = append(w.buf, ',')
	}
}

func (w *inputWriter) member(name string, value *string) {
	if value != nil {
		w.word(name)
		w.text(*value)
	}
}

func (w *inputWriter) choice(name, value string) {
	if value != "" {
		w.word(name)
		w.text(value)
	}
}

func (w *inputWriter) condition(expression *string, onFailure types.ReturnValuesOnConditionCheckFailure) {
	w.member("ConditionExpression", expression)
	w.choice("ReturnValuesOnConditionCheckFailure", string(onFailure))
}

// placeholders writes what stands for names and values in expressions.
func (w *inputWriter) placeholders(names map[string]string, values map[string]types.AttributeValue) {
	if names != nil {
		w.word("ExpressionAttributeNames")
		w.buf = append(w.buf, '{')
		for placeholder, name := range names {
			w.name(placeholder)
			w.text(name)
		}
		w.buf = append(w.buf, '}')
	}
	w.attributes("ExpressionAttributeValues", values)
}

func (w *inputWriter) attributes(name string, attributes map[string]types.AttributeValue) {
	if attributes == nil {
		return
	}
	w.word(name)
	w.buf = append(w.buf, '{')
	for name, value := range attributes {
		w.name(name)
		w.buf = append(w.buf, '{')
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			w.word("S")
			w.text(v.Value)
		case *types.AttributeValueMemberN:
			w.word("N")
			w.text(v.Value)
		case *types.AttributeValueMemberB:
			w.word("B")
			w.other = w.other || v.Value == nil // null
			w.buf = base64.StdEncoding.AppendEncode(append(w.buf, '"'), v.Value)
			w.buf = append(w.buf, '"')
		default:
			w.other = true
		}
		w.buf = append(w.buf, '}')
	}
	w.buf = append(w.buf, '}')
}

const hexDigits = "0123456789abcdef"

// text writes a string. The SDK mends what is not UTF-8.
func (w *inputWriter) text(s string) {
	buf := w.buf
	buf = append(buf, '"')
	from, all := 0, byte(0)
	for i := range len(s) {
		c := s[i]
		if all |= c; c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		buf = append(buf, s[from:i]...)
		from = i + 1
		if c < ' ' {
			buf = append(buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		} else {
			buf = append(buf, '\\', c)
		}
	}
	w.buf = append(append(buf, s[from:]...), '"')
	w.other = w.other || all >= utf8.RuneSelf && !utf8.ValidString(s)
}
