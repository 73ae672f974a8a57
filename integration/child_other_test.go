// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build !linux

package integration_test

import "syscall"

// dieWithParent does nothing: only Linux can promise it. A child still ends with
// its test, but not if the tests are killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
