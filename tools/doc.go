// Package tools is empty: its module pins the versions of the tools that the Makefile runs.
package tools
