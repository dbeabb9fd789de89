package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The picture has no background. Its colors are readable on white and on black.
const (
	inkColor    = "#727c88"
	strongColor = "#3f8f5f"
	readColor   = "#3d85c6"
	writeColor  = "#d8792a"
	deleteColor = "#9a72b8"
)

const (
	pictureWidth = 900
	labelWidth   = 272
	panelWidth   = 235
	panelGap     = 82
	rowHeight    = 27
	barHeight    = 15
	headHeight   = 78
	footHeight   = 34
)

type bar struct {
	value float64
	color string
}

// svg draws the results: calls on the left, dollars on the right.
func svg(results []*result) string {
	var b strings.Builder
	height := headHeight + rowHeight*len(results) + footHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" font-family="-apple-system,'Segoe UI',Helvetica,Arial,sans-serif" font-size="13" fill="%s">`+"\n",
		pictureWidth, height, pictureWidth, height, inkColor)
	b.WriteString("<title>DynamoDB calls and cost of one trace, by session library</title>\n")
	text := func(x, y float64, attrs, s string) {
		fmt.Fprintf(&b, `<text x="%g" y="%g"%s>`, x, y, attrs)
		_ = xml.EscapeText(&b, []byte(s)) // a Builder returns no errors
		b.WriteString("</text>\n")
	}
	left, right := float64(labelWidth), float64(labelWidth+panelWidth+panelGap)
	text(left, 22, ` font-size="15" font-weight="600"`, "calls per 1,000 requests")
	text(right, 22, ` font-size="15" font-weight="600"`, "$ per million requests")
	legend := func(x float64, entries ...[2]string) {
		for _, e := range entries {
			fmt.Fprintf(&b, `<rect x="%g" y="37" width="11" height="11" rx="2" fill="%s"/>`+"\n", x, e[0])
			text(x+16, 47, "", e[1])
			x += 34 + 7*float64(len(e[1]))
		}
	}
	legend(left, [2]string{readColor, "reads"}, [2]string{writeColor, "writes"}, [2]string{deleteColor, "deletes"})
	legend(right, [2]string{readColor, "read units"}, [2]string{writeColor, "write units"})

	most, dearest := 0.0, 0.0
	for _, r := range results {
		most = max(most, r.perThousand(float64(r.Reads+r.Puts+r.Delete)))
		dearest = max(dearest, r.cost())
	}
	for i, r := range results {
		y := float64(headHeight + i*rowHeight)
		style := ` text-anchor="end"`
		if r.ours != nil {
			style += fmt.Sprintf(` font-weight="600" fill="%s"`, strongColor)
		}
		text(left-12, y+12, style, r.short)
		draw := func(x, scale float64, label string, bars ...bar) {
			for _, one := range bars {
				width := one.value / scale * panelWidth
				if width > 0 {
					fmt.Fprintf(&b, `<rect x="%.1f" y="%g" width="%.1f" height="%d" fill="%s"/>`+"\n", x, y, width, barHeight, one.color)
				}
				x += width
			}
			text(x+7, y+12, "", label)
		}
		reads, writes, deletes := r.perThousand(float64(r.Reads)), r.perThousand(float64(r.Puts)), r.perThousand(float64(r.Delete))
		draw(left, most, fmt.Sprintf("%.0f", reads+writes+deletes), bar{reads, readColor}, bar{writes, writeColor}, bar{deletes, deleteColor})
		perMillion := 1e6 / float64(r.requests)
		label := fmt.Sprintf("$%.3f", r.cost())
		if r.ends == endOnly || r.ends == sinceChange {
			label += ", no idle timeout"
		}
		draw(right, dearest, label, bar{dollars(r.ReadUnits, 0) * perMillion, readColor}, bar{dollars(0, r.WriteUnits) * perMillion, writeColor})
	}
	text(left-12, float64(height-12), ` text-anchor="end" font-size="12"`, fmt.Sprintf("%d requests of %d users", results[0].requests, results[0].requests/perUser))
	text(left, float64(height-12), ` font-size="12"`, "On demand, us-east-1: $0.125 per million read units, $0.625 per million write units.")
	b.WriteString("</svg>\n")
	return b.String()
}
