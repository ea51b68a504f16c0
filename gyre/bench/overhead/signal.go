package main

import (
	"context"
	"os"
	"os/signal"
)

func interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}
