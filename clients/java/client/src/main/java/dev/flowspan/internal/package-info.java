/** The implementation of the client. Not part of its API: it changes without notice. */
package dev.flowspan.internal;
