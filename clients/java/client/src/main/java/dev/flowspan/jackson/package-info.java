/** JSON by Jackson, an optional dependency. */
package dev.flowspan.jackson;
