// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import "time"

// Age makes a code older.
func (c *Code) Age(d time.Duration) { c.made = c.made.Add(-d) }
