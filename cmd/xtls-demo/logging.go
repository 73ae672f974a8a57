// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"

	"github.com/pion/logging"
)

// loggers returns the library's logging: none, from -vv on its messages, from
// -vvv on all of them.
func (u *ui) loggers() logging.LoggerFactory {
	switch {
	case u.verbose < 2:
		return nil
	case u.verbose == 2:
		return logFactory{u, logging.LogLevelDebug}
	default:
		return logFactory{u, logging.LogLevelTrace}
	}
}

type logFactory struct {
	ui    *ui
	level logging.LogLevel
}

// NewLogger implements logging.LoggerFactory.
func (f logFactory) NewLogger(scope string) logging.LeveledLogger {
	return &logger{ui: f.ui, level: f.level, scope: scope}
}

// A logger prints what the library logs, which never is a secret.
type logger struct {
	ui    *ui
	level logging.LogLevel
	scope string
}

func (l *logger) log(level logging.LogLevel, word, msg string) {
	if level > l.level {
		return
	}
	l.ui.event("log", "scope", l.scope, "level", word, "text", msg)
	l.ui.print(l.ui.people, "%s %s: %s", []any{l.scope, word, msg})
}

func (l *logger) Trace(msg string) { l.log(logging.LogLevelTrace, "trace", msg) }
func (l *logger) Debug(msg string) { l.log(logging.LogLevelDebug, "debug", msg) }
func (l *logger) Info(msg string)  { l.log(logging.LogLevelInfo, "info", msg) }
func (l *logger) Warn(msg string)  { l.log(logging.LogLevelWarn, "warning", msg) }
func (l *logger) Error(msg string) { l.log(logging.LogLevelError, "error", msg) }

func (l *logger) Tracef(format string, args ...any) { l.Trace(fmt.Sprintf(format, args...)) }
func (l *logger) Debugf(format string, args ...any) { l.Debug(fmt.Sprintf(format, args...)) }
func (l *logger) Infof(format string, args ...any)  { l.Info(fmt.Sprintf(format, args...)) }
func (l *logger) Warnf(format string, args ...any)  { l.Warn(fmt.Sprintf(format, args...)) }
func (l *logger) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }
