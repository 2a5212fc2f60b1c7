// SPDX-License-Identifier: Apache-2.0
// Browsers start no worker for a page that is opened from disk. The search runs in one: here it gets a hidden frame instead,
// which has what it asks of a worker (messages both ways, importScripts) and needs nothing from any network.
(function () {
  "use strict";
  if (location.protocol !== "file:") return;

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inner = this.frame.contentWindow;
      const page = inner.document;
      page.open();
      page.write("<!doctype html><html><head></head><body></body></html>");
      page.close();
      const load = (address) =>
        new Promise((done, failed) => {
          const script = page.createElement("script");
          script.src = address;
          script.onload = done;
          script.onerror = () => failed(new Error("cannot load " + address));
          page.body.appendChild(script);
        });
      // Scripts that one asks for are loaded one after another, and messages wait for them.
      this.ready = Promise.resolve();
      inner.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve());
      inner.postMessage = (data) => this.emit(new MessageEvent("message", { data }));
      this.inner = inner;
      this.ready = load(url).catch((error) => this.emit(new ErrorEvent("error", { message: error.message })));
    }

    emit(event) {
      this.dispatchEvent(event);
      const handler = this["on" + event.type];
      if (typeof handler === "function") handler.call(this, event);
    }

    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  }

  window.Worker = FrameWorker;
})();
