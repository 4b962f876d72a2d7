"use strict";

/** A timer takes no more milliseconds. */
const TIMER_MAX = 2 ** 31 - 1;

/** What a connection (pg's Client) has told and nobody has taken yet. */
class Inbox {
  constructor(client, queueMax) {
    this.payloads = [];
    this.error = null;
    this.wake = () => {};
    /** Rejects when the connection is over. */
    this.ended = new Promise((_, reject) => { this.reject = reject; });
    this.ended.catch(() => {});
    client.on("notification", ({ payload }) => {
      // Once one is dropped, later ones are, too: their position would say that it had been told.
      if (this.payloads.length >= queueMax) {
        this.end(new Error("nobody takes what is told"));
        client.connection.stream.destroy();
      } else if (!this.error) {
        this.payloads.push(payload);
      }
      this.wake();
    });
    client.on("error", (error) => this.end(error));
    client.on("end", () => this.end(new Error("the connection ended")));
  }

  /** The first reason counts. */
  end(error) {
    this.error ??= error;
    this.reject(this.error);
    this.wake();
  }

  /** The next payload, if there is one or it comes within so many milliseconds. */
  async next(within) {
    const silence = setTimeout(() => this.end(new Error("silence")), Math.min(within, TIMER_MAX));
    try {
      while (this.payloads.length === 0 && !this.error) {
        await new Promise((resolve) => { this.wake = resolve; });
      }
    } finally {
      clearTimeout(silence);
    }
    if (this.payloads.length === 0) {
      throw this.error;
    }
    return this.payloads.shift();
  }
}

module.exports = { Inbox };
