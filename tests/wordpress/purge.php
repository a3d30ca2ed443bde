<?php
// Tells nginx of what has changed, by the requests of the plugins that WordPress sites have for it: PURGE as Proxy Cache Purge
// sends it, or GET /purge/... as nginx-helper does; the file purge-by says which.

/** The URLs that show a post, as these plugins count them. */
function swrcache_urls( $post_id ) {
	$post = get_post( $post_id );
	$urls = array( home_url( '/' ), get_feed_link(), get_feed_link( 'comments_rss2' ), get_author_posts_url( $post->post_author ) );
	$permalink = get_permalink( $post );
	array_push( $urls, $permalink, $permalink . 'feed/', rest_url( "wp/v2/posts/$post_id/" ) );
	foreach ( array( 'category', 'post_tag' ) as $taxonomy ) {
		foreach ( wp_get_post_terms( $post_id, $taxonomy ) as $term ) {
			$urls[] = get_term_link( $term );
			$urls[] = get_term_link( $term ) . 'feed/';
		}
	}
	list( $year, $month, $day ) = explode( '-', get_the_date( 'Y-m-d', $post ) );
	array_push( $urls, get_year_link( $year ), get_month_link( $year, $month ), get_day_link( $year, $month, $day ) );
	return $urls;
}

function swrcache_purge( $url ) {
	$parts = wp_parse_url( $url );
	$path  = $parts['path'] . ( isset( $parts['query'] ) ? '?' . $parts['query'] : '' );
	$nginx = 'http://' . SWRCACHE_NGINX;
	$host  = array( 'host' => $parts['host'] );
	if ( 'GET' === trim( file_get_contents( WP_CONTENT_DIR . '/purge-by' ) ) ) {
		wp_remote_get( "$nginx/purge$path", array( 'headers' => $host ) );
	} else {
		$fields = $host + array( 'X-Purge-Method' => 'default' );
		wp_remote_request( $nginx . $path, array( 'method' => 'PURGE', 'headers' => $fields ) );
	}
}

/** Notes what shows a post that changes; without one, at the end of the request, purges it. */
function swrcache_changed( $post_id = null ) {
	static $urls = array();
	if ( null !== $post_id ) {
		$urls = array_merge( $urls, swrcache_urls( $post_id ) );
		return;
	}
	array_map( 'swrcache_purge', array_unique( $urls ) );
}

add_action(
	'transition_post_status',
	function ( $new, $old, $post ) {
		if ( 'post' === $post->post_type && 'publish' === $new ) {
			swrcache_changed( $post->ID );
		}
	},
	10,
	3
);
// While it still has its address.
add_action( 'wp_trash_post', 'swrcache_changed' );
add_action(
	'wp_insert_comment',
	function ( $id, $comment ) {
		if ( '1' === (string) $comment->comment_approved ) {
			swrcache_changed( (int) $comment->comment_post_ID );
		}
	},
	10,
	2
);
add_action(
	'shutdown',
	function () {
		swrcache_changed();
	}
);
