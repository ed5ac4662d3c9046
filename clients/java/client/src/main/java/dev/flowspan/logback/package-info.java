/** The log appender for Logback, an optional dependency. */
package dev.flowspan.logback;
