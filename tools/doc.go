// Package tools is empty. Its module pins the versions of the tools that the Makefile runs.
package tools
